"""Every command in README and docs is run, on tiny data in the real layouts, with training shortened to one step."""

import os
import re
import shutil
import sys

import pytest

from segattn.benchmark import cost_tables
from segattn.checkpoints import load_model, save_model
from segattn.cli import main
from segattn.init import command as init_command
from segattn.init.training_cost import UNKNOWN_COST
from segattn.report import page_parts
from tests.documentation import segattn_commands, shell_lines
from tests.documented_files import write_documented_files, write_files_of_commands

COMMANDS = segattn_commands()

OTHERS = {
    "make demo": "trains for minutes; scripts/demo.sh consists of commands that are run here",
    "make test": "runs this test",
    "pip install": "needs a package index",
    "torchrun": "starts several processes; its segattn command is run here without it",
    "for ": "the commands in the loop are run once",
    "python scripts/prepare_tiles.py": "run by tests/data/test_prepare_tiles.py",
    "python scripts/size_study.py": "run by tests/test_size_study.py",
    "python scripts/size_study_page.py": "run by tests/test_size_study_page.py",
    "python scripts/study_attention.py": "run by tests/test_study_attention.py",
}
"""Lines for a shell that do not start with segattn, and why they are not run here."""

NOT_RUN = {
    "import": "needs a checkpoint of another repository; see tests/checkpoints/test_foreign.py",
    "onnx": "run by tests/test_documented_code.py, whose code reads the file",
}
"""Words of commands that are only parsed, and why."""

SEVERAL_PROCESSES = {"--devices", "--num-nodes", "--trainer.devices", "--trainer.num_nodes"}
"""Options with which commands are only parsed: the processes that they start would run this test again."""

MISSING = r"There is no|No such file|No data found|no config|has no checkpoint|does not exist|no image"

ONE_STEP = [
    *("--trainer.max_steps", "1", "--trainer.limit_val_batches", "1", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--data.num_workers", "0"),
    *("--data.crop_size", "[32,32]", "--data.batch_size", "2"),
    *("--data.size_rule.short_side", "32", "--data.size_rule.max_long_side", "64"),
    *("--model.encoder.name", "tu-test_resnet", "--model.encoder.weights", "null"),
]
SHORTER = {
    "fit": ONE_STEP,
    "validate": ONE_STEP,
    "init": ["--encoder", "tu-test_resnet", "--weights", "null"],
    "benchmark": ["--repeats", "1"],
    "compare": ["--resamples", "20"],
    "score": ["--workers", "0"],
}
"""Options that are appended, so that a command takes little time."""

SMALLER = {"360x480": "32x48"}
"""Values that are replaced for the same reason."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented")
    write_documented_files(folder)
    write_files_of_commands(folder)
    return folder


@pytest.fixture
def copied_files(files, tmp_path, monkeypatch):
    """A copy, in which a command can write."""
    folder = tmp_path / "copy"
    shutil.copytree(files, folder, symlinks=True, copy_function=os.link)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))  # --import adds the current folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(page_parts, "to_svg", lambda figure, title: "")  # tests/report draws the figures
    monkeypatch.setattr(cost_tables, "peak_memory", lambda *_, **__: (1.0, 2.0))  # tests/benchmark measures it
    monkeypatch.setattr(init_command, "training_cost", lambda *_, **__: UNKNOWN_COST)  # tests/init measures it
    return folder


def run(words, capsys):
    """Run a command; returns its exit code, and what it printed."""
    try:
        code = main([SMALLER.get(word, word) for word in [*words, *SHORTER.get(words[0], [])]])
    except SystemExit as stop:
        code = stop.code
    return code, "".join(capsys.readouterr())


def is_run(words):
    return not (NOT_RUN.keys() | SEVERAL_PROCESSES) & set(words)


def test_commands_are_found():
    assert len(COMMANDS) > 40
    assert {words[0] for words in COMMANDS.values()} >= {"fit", "validate", "predict", "score", "compare", "export"}
    lines = [line for line in shell_lines() if re.match(r"(python|make|pip|torchrun|uv|for|bash|git) ", line)]
    assert len(lines) > 8
    for line in lines:
        assert any(line.startswith(start) for start in OTHERS), f"no reason why the tests do not run {line}"


@pytest.mark.parametrize("command", [command for command, words in COMMANDS.items() if is_run(words)])
def test_command_succeeds(command, copied_files, capsys):
    words = COMMANDS[command]
    if words[0] == "init":
        (copied_files / f"{words[words.index('--name') + 1]}.yaml").unlink()
    if "danet.safetensors" in words:
        save_model(load_model("runs/cityscapes_danet"), "danet.safetensors")
    code, printed = run(words, capsys)
    assert code == (1 if "broken" in words else 0), printed


@pytest.mark.parametrize("command", [command for command, words in COMMANDS.items() if not is_run(words)])
def test_command_is_a_correct_command_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = COMMANDS[command]
    alone = [part for option in sorted(SEVERAL_PROCESSES & set(words)) for part in (option, "1")]
    code, printed = run([*words, *alone], capsys)
    assert code == 1, printed
    assert re.search(MISSING, printed), printed
