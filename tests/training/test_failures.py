"""Failed runs keep the previous checkpoint and end with a one-sentence message."""

import json
import multiprocessing
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from segattn import cli
from segattn.checkpoints import load_model, save_model
from segattn.data import CamVid, CamVidDataModule
from segattn.models.segmentation_model import SegmentationModel
from segattn.sample import ClassTable
from segattn.training.command import main
from segattn.training.provenance import config_differences, git_state
from segattn.training.task import SegmentationTask
from tests.checkpoints.saved import save_checkpoint
from tests.training.tiny_run import STEPS_PER_EPOCH, assert_same_end, logged, run_folder, write_config

FIT = ["fit", "--config", "tiny.yaml"]
RESUME = [*FIT, "--ckpt_path", "last"]


@pytest.fixture(autouse=True)
def _config(tmp_path, monkeypatch):
    """A config that trains a tiny model, in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)


def at_step(monkeypatch, step, do):
    """Call a function at the start of a training step."""
    train = SegmentationTask.training_step

    def broken(task, batch, batch_idx):
        if task.global_step == step:
            do()
        return train(task, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", broken)


def sentence_of(capfd, arguments):
    """The error message of a command that fails."""
    assert cli.main(arguments) == 1
    error = capfd.readouterr().err
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("segattn ")]
    return line


REPEATEDLY_KILLED = """
import os, random, signal, sys
import torch
torch.set_num_threads(1)
from segattn.checkpoints import load_model, save_model
from segattn.training.command import main
from pathlib import Path
last = Path("killed/tiny/version_0/checkpoints/last.ckpt")

def run(output, seconds=0.0):
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # kills the process after this CPU time
        signal.setitimer(signal.ITIMER_PROF, seconds)
        resuming = ["--ckpt_path", "last"] * (output == "killed" and last.is_file())
        try:
            main(["fit", "--config", "tiny.yaml", "--output", output, "--name", "tiny", *resuming])
        finally:
            os._exit(0)
    _, status, usage = os.wait4(child, 0)
    return os.WIFSIGNALED(status), usage.ru_utime + usage.ru_stime

_, complete = run("complete")
dice, kills, kills_of_resumed, turn = random.Random(3), 0, 0, 0
while kills < 6 or kills_of_resumed < 2 or not last.is_file():
    resumed = last.is_file()
    killed, _ = run("killed", dice.uniform(0.02, 1.0) * complete)
    kills += killed
    kills_of_resumed += killed and resumed
    for path in Path("killed").rglob("*.ckpt"):
        if not path.name.startswith("partial-"):  # an unfinished write, under a temporary name
            load_model(path)
    if not (killed and last.is_file()):  # finished, or nothing to resume from yet: begin another run
        for path in Path("killed").glob("tiny/*"):
            path.rename(f"left_{turn}_{path.name}")
    turn += 1
print("kills", kills, kills_of_resumed)
"""


@pytest.mark.usefixtures("one_thread")
def test_repeatedly_killed_run_ends_like_an_uninterrupted_one():
    killed = subprocess.run(
        [sys.executable, "-c", REPEATEDLY_KILLED], capture_output=True, text=True, check=False, timeout=400
    )
    assert killed.returncode == 0, killed.stderr
    kills, of_resumed = map(int, re.search(r"kills (\d+) (\d+)", killed.stdout).groups())
    assert kills >= 6
    assert of_resumed >= 2
    assert main([*RESUME, "--output", "killed"]) == 0
    assert_same_end("complete", "killed")
    for key in ("train/loss", "val/loss", "step"):
        assert logged("complete", key) == logged("killed", key)


TWO_PROCESSES = """
import os, signal, sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from segattn.checkpoints import load_model
from segattn.training.command import main
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[1], "NODE_RANK": "0"}
last = Path("two/tiny/version_0/checkpoints/last.ckpt")

def start(*arguments):
    processes = []
    for rank in range(2):
        processes.append(os.fork())
        if processes[-1] == 0:
            os.environ["LOCAL_RANK"] = str(rank)  # as a cluster launcher sets it
            two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--output", "two"]
            try:
                code = main(["fit", "--config", "tiny.yaml", *two, *arguments])
            except SystemExit as stop:
                code = stop.code
            os._exit(code)
        while rank == 0 and not arguments and not last.parent.parent.is_dir():
            time.sleep(0.1)  # the second process finds an existing folder
    return processes

def step():
    load_model(last)
    return torch.load(last, weights_only=True)["global_step"]

running = start()
while not last.is_file():
    time.sleep(0.1)
for process in running:
    os.kill(process, signal.SIGTERM)
codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in running]
print("stopped", codes, step())
codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in start("--ckpt_path", "last")]
print("ended", codes, step())
"""


def test_two_processes_stop_at_the_same_step_on_sigterm_and_resume(tmp_path):
    content = yaml.safe_load(Path("tiny.yaml").read_text())
    content["trainer"]["max_epochs"] = 8
    Path("tiny.yaml").write_text(yaml.safe_dump(content))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = [sys.executable, "-c", TWO_PROCESSES, port]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("stopped; resume with --ckpt_path last (two/tiny/version_0/checkpoints/last.ckpt)") == 1
    step = int(re.search(r"stopped \[1, 1\] (\d+)", done.stdout)[1])
    assert 2 <= step < 16
    assert re.search(r"ended \[0, 0\] 16", done.stdout), done.stdout
    assert [path.name for path in Path("two/tiny").iterdir()] == ["version_0"]


SLOW_VALIDATION = """
import signal, sys, time
from pathlib import Path
from segattn import cli
from segattn.training.task import SegmentationTask
validate = SegmentationTask.validation_step

def slowly(task, batch, batch_idx):
    if not task.trainer.sanity_checking:
        Path("validating").touch()
        time.sleep(0.5)
    return validate(task, batch, batch_idx)

SegmentationTask.validation_step = slowly
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have disabled it
options = ["--data.num_workers", "2", "--trainer.num_sanity_val_steps", "2", "--trainer.max_epochs", "9"]
sys.exit(cli.main(["fit", "--config", "tiny.yaml", *options]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_validation_finishes_after_a_signal_to_the_process_group(tmp_path, number):
    """As terminals and clusters send it. DataLoader workers of the sanity check start before the handler is set."""
    with (tmp_path / "log").open("w") as log:
        command = subprocess.Popen(
            [sys.executable, "-c", SLOW_VALIDATION], stdout=log, stderr=log, start_new_session=True
        )
    end = time.monotonic() + 120
    while not Path("validating").is_file() and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(command.pid, number)
    assert command.wait(timeout=120) == 1
    log = (tmp_path / "log").read_text()
    assert log.count("stopping after this training step") == 1, log
    assert "stopped; resume with --ckpt_path last (runs/tiny/version_0/checkpoints/last.ckpt)" in log
    last = torch.load(run_folder("runs") / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == STEPS_PER_EPOCH + 1


def test_validation_finishes_after_sigterm(monkeypatch):
    assert main([*FIT, "--output", "complete"]) == 0
    validate, calls = SegmentationTask.validation_step, []

    def terminated(task, batch, batch_idx):
        calls.append(batch_idx)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return validate(task, batch, batch_idx)

    interrupt = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(SegmentationTask, "validation_step", terminated)
    with pytest.raises(SystemExit):
        main([*FIT, "--output", "stopped"])
    signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it after an interruption
    assert len(calls) == 5
    monkeypatch.setattr(SegmentationTask, "validation_step", validate)
    assert main([*RESUME, "--output", "stopped"]) == 0
    assert_same_end("complete", "stopped")


def test_sigterm_before_a_validation_within_an_epoch_loses_no_validation(monkeypatch):
    options = ["--trainer.val_check_interval", "2", "--trainer.max_epochs", "2"]
    assert main([*FIT, *options, "--output", "complete"]) == 0
    interrupt = signal.getsignal(signal.SIGINT)
    validate, saved_before = SegmentationTask.validation_step, []

    def watched(task, batch, batch_idx):
        saved_before.extend(run_folder("stopped").rglob("last.ckpt"))
        return validate(task, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationTask, "validation_step", watched)
        at_step(patch, 1, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(SystemExit):
            main([*FIT, *options, "--output", "stopped"])
    assert not saved_before, "after a kill in the validation, a run would resume without this validation"
    signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it after an interruption
    last = torch.load(run_folder("stopped") / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 3
    assert main([*RESUME, *options, "--output", "stopped"]) == 0
    assert_same_end("complete", "stopped")
    for key in ("val/miou", "train/loss", "step"):
        assert logged("complete", key) == logged("stopped", key)


def test_full_disk_at_the_first_checkpoint(monkeypatch, capfd):
    def full(content, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segattn.checkpoints.lightning_io.torch.save", full)
    sentence = sentence_of(capfd, FIT)
    assert re.search(r"\.ckpt cannot be written \(No space left on device\): free some space", sentence)
    assert "previous" not in sentence


def test_full_disk_keeps_the_previous_checkpoint(monkeypatch, capfd):
    assert main([*FIT, "--output", "complete"]) == 0
    save, saved = torch.save, []

    def limited(content, file):
        saved.append(file)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if len(saved) == 4:  # best and last are written in the first epoch, so this is the last one of the second
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            save(content, file)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr("segattn.checkpoints.lightning_io.torch.save", limited)
    sentence = sentence_of(capfd, [*FIT, "--output", "full"])
    assert re.search(r"last\.ckpt cannot be written \(File too large\): the previous checkpoint is intact", sentence)
    folder = run_folder("full") / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 4
    monkeypatch.setattr("segattn.checkpoints.lightning_io.torch.save", save)
    assert main([*RESUME, "--output", "full"]) == 0
    assert_same_end("complete", "full")


OUT_OF_MEMORY = {
    "python": MemoryError(),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: Error code 12"
    ),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore."),
}


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
def test_out_of_memory_message(monkeypatch, capfd, kind):
    def greedy(model, image):
        raise OUT_OF_MEMORY[kind]

    monkeypatch.setattr(SegmentationModel, "forward", greedy)
    sentence = sentence_of(capfd, FIT)
    assert re.search(r"Out of memory in fit at step 0 \(epoch 0\): try a smaller data\.batch_size", sentence)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_unreadable_image_is_named(monkeypatch, capfd, workers):
    victim = sorted(Path("data").rglob("val/*.png"))[3]
    at_step(monkeypatch, 2, lambda: victim.write_bytes(victim.read_bytes()[:50]))
    sentence = sentence_of(capfd, [*FIT, "--data.num_workers", workers])
    assert victim.name in sentence
    assert re.search(r"\(in fit at step 4 \(epoch 0\); fix the problem and resume with --ckpt_path last\)\.$", sentence)


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="only a forked worker reads as patched")
def test_killed_worker_ends_the_run(monkeypatch, capfd):
    own, read = os.getpid(), CamVid.read_mask

    def dying(dataset, path):
        if os.getpid() != own:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(dataset, path)

    monkeypatch.setattr(CamVid, "read_mask", dying)
    sentence = sentence_of(capfd, [*FIT, "--data.num_workers", "1", "--check", "false"])
    assert re.search(r"A DataLoader worker was killed in fit at step 0 .*try fewer data\.num_workers", sentence)


def test_run_records_its_start_and_reports_config_differences(caplog):
    assert main([*FIT, "--trainer.max_epochs", "1", "--seed_everything", "3"]) == 0
    with caplog.at_level("INFO"):
        assert (
            main([*RESUME, "--trainer.max_epochs", "2", "--model.schedule.power", "0.5", "--seed_everything", "3"]) == 0
        )
    log = [
        record.getMessage() for record in caplog.records if "config differs from that of the run" in record.getMessage()
    ]
    assert sorted(log[0].splitlines()[1:]) == ["  model.schedule.power: 0.9 -> 0.5", "  trainer.max_epochs: 1 -> 2"]
    first, second = json.loads((run_folder("runs") / "environment.json").read_text())
    assert first["seed"] == 3
    assert first["command"][:4] == ["segattn", *FIT]
    assert first["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert first["git"] is None  # the run is outside of any repository
    assert "--ckpt_path" in second["command"]
    assert (run_folder("runs") / "config.yaml").is_file()


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_checkpoints_execute_no_code(tmp_path, monkeypatch, capfd, command):
    Path("intruder.py").write_text(
        "import pathlib, torch\npathlib.Path('made').touch()\nclass Loss(torch.nn.Module): ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    checkpoint = torch.load(save_checkpoint(tmp_path / "good.ckpt", classes=CamVidDataModule("data").classes))
    checkpoint |= {"pytorch-lightning_version": "2.5", "loops": {}, "optimizer_states": []}
    hyperparameters = {
        "hyper_parameters": {"loss": {"class_path": "intruder.Loss"}}
    }  # Lightning would read it as a config
    torch.save(checkpoint | hyperparameters, "config.ckpt")
    torch.save(checkpoint | {"more": Pickled()}, "pickled.ckpt")
    Path("photo.ckpt").write_bytes(b"\xff\xd8\xff" + bytes(99))
    given = [command, "--config", "tiny.yaml", "--ckpt_path"]
    assert "No data found" in sentence_of(capfd, [*given, "config.ckpt", "--data.root", "gone"])
    assert "pickled.ckpt is refused: besides weights and plain data it holds" in sentence_of(
        capfd, [*given, "pickled.ckpt"]
    )
    assert "photo.ckpt is not a checkpoint" in sentence_of(capfd, [*given, "photo.ckpt"])
    assert not Path("made").exists()


@pytest.mark.parametrize("text", ["a: [", "- 3", ""])
def test_resuming_with_a_damaged_config_of_the_run_is_an_error(capfd, text):
    assert main([*FIT, "--trainer.max_epochs", "1"]) == 0
    (run_folder("runs") / "config.yaml").write_text(text)
    capfd.readouterr()
    sentence = sentence_of(capfd, RESUME)
    assert re.search(r"The config \S*/runs/tiny/version_0/config.yaml (is not valid YAML|must be)", sentence)


def test_checkpoints_that_cannot_be_resumed_are_errors(capfd):
    assert main([*FIT, "--trainer.max_epochs", "1"]) == 0
    last = run_folder("runs") / "checkpoints" / "last.ckpt"
    save_model(load_model(last), "slim.safetensors")
    complete = torch.load(last)
    for name, change in {
        "newer": {"segattn": complete["segattn"] | {"version": "99.0"}},
        "foreign": {"segattn": None},
        "wide": {"segattn": complete["segattn"] | {"classes": 3}},
    }.items():
        content = complete | change
        torch.save({key: value for key, value in content.items() if value is not None}, f"{name}.ckpt")
    start = [*FIT, "--ckpt_path"]
    assert "holds a model without the state of its training" in sentence_of(capfd, [*start, "slim.safetensors"])
    for command in ([*start, "newer.ckpt"], [*FIT, "--model.init_from", "newer.ckpt"]):
        assert "newer.ckpt was written by segattn 99.0" in sentence_of(capfd, command)
    assert "foreign.ckpt was not written by segattn" in sentence_of(capfd, [*start, "foreign.ckpt"])
    assert "The description of the model in wide.ckpt" in sentence_of(capfd, [*start, "wide.ckpt"])
    other = ["--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", "0.1"]
    for change in (other, ["--model.optimizer.lr", "0.1"], ["--model.head_lr_factor", "2"]):
        assert "must resume with its own optimizer" in sentence_of(capfd, [*RESUME, *change])
    sentence = sentence_of(capfd, [*RESUME, "--model.head.channels", "16"])
    assert re.search(r"the model of the config \(size mismatch .*\): resume with the config of the run", sentence)


def test_without_a_logger_no_config_is_written():
    Path("config.yaml").write_text("mine: alone\n")
    assert main([*FIT, "--trainer.logger", "false", "--trainer.max_epochs", "1"]) == 0
    assert Path("config.yaml").read_text() == "mine: alone\n"


def test_unknown_devices_are_an_error(capfd):
    assert "The trainer cannot be created: `devices`" in sentence_of(capfd, [*FIT, "--trainer.devices", "foo"])
    assert not list(Path("runs/tiny").iterdir())


class Pickled:
    """Creates a folder when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("made",)


def test_config_differences():
    before = {"a": {"b": 1, "c": [1, 2]}, "d": None, "e": {}}
    assert config_differences(before, before) == []
    now = {"a": {"b": 2, "c": [1, 2]}, "d": {"x": "y"}, "e": {}}
    assert config_differences(before, now) == ["a.b: 1 -> 2", "d: null -> nothing", 'd.x: nothing -> "y"']
    assert config_differences({"name": "a", "output": "b"}, {"name": "c", "ckpt_path": "last"}) == []


def test_git_state_names_changed_files(tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    assert git_state(tmp_path) is None
    git("init")
    git("add", "tiny.yaml")
    git("commit", "-m", "x")
    assert git_state(tmp_path)["changed"] == []
    (tmp_path / "tiny.yaml").write_text("x")
    assert git_state(tmp_path)["changed"] == ["tiny.yaml"]
    assert len(git_state(tmp_path)["commit"]) == 40


def test_validation_uses_the_model_of_the_checkpoint_not_of_the_config(capfd):
    assert main([*FIT, "--trainer.max_epochs", "1", "--model.attention", "ECA"]) == 0
    trained = load_model(run_folder("runs"))
    trained.save_pretrained("hub")
    scores = []
    for checkpoint in (str(run_folder("runs")), "hub"):
        capfd.readouterr()
        other = ["--model.head", "DANetHead", "--model.auxiliary_weights", "{position: 1, channel: 1, stage3: 0.4}"]
        assert main(["validate", "--config", "tiny.yaml", "--ckpt_path", checkpoint, *other]) == 0
        scores.append([line for line in capfd.readouterr().out.splitlines() if "miou" in line])
    assert scores[0] == scores[1]
    trained.classes = ClassTable(tuple(replace(info, name=f"new {info.name}") for info in trained.classes.classes))
    save_model(trained, "other.safetensors")
    sentence = sentence_of(capfd, ["validate", "--config", "tiny.yaml", "--ckpt_path", "other.safetensors"])
    assert "The checkpoint has the classes new sky, new building" in sentence
