import errno
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from PIL import Image

from segattn.cli import main
from segattn.io.folder_lock import folder_lock
from segattn.predict import Settings, predict_folder
from segattn.predict.result_files import ResultWriter
from tests.launched_processes import NEEDS_FORK, Group, slurm, torchrun, wait_for_files
from tests.predict.conftest import save_pictures, tree

pytestmark = NEEDS_FORK
ONE = Settings(progress=False)


def group(folder, count, checkpoint, images, *, launcher=torchrun, settings=ONE, **options) -> Group:
    return Group(
        folder,
        count,
        lambda: predict_folder(checkpoint, images, folder / "out", settings=settings, **options),
        launcher=launcher,
    )


@pytest.mark.parametrize(("count", "launcher", "num_nodes"), [(2, torchrun, 1), (3, slurm, 3)])
def test_several_processes_write_the_files_of_one(tmp_path, checkpoint, count, launcher, num_nodes):
    images = save_pictures(tmp_path / "in", *(f"{i % 3}/{i}.png" for i in range(11)))
    (images / "empty.png").touch()
    inputs = [images, tmp_path / "gone"]
    one = predict_folder(checkpoint, inputs, tmp_path / "one", settings=Settings(progress=False, batch_size=2))
    assert (len(one.masks), len(one.failures)) == (11, 2)
    settings = Settings(progress=False, batch_size=2, num_nodes=num_nodes)
    codes, errors = group(tmp_path, count, checkpoint, inputs, launcher=launcher, settings=settings).end()
    assert (codes, errors) == ([0] * count, {})
    assert tree(tmp_path / "out") == tree(tmp_path / "one")


@pytest.fixture
def slowly(monkeypatch):
    """Give time to interrupt runs."""
    write = ResultWriter.write
    monkeypatch.setattr(ResultWriter, "write", lambda *arguments: (time.sleep(0.2), write(*arguments))[1])


@pytest.mark.parametrize("killed", [0, 1])
def test_after_a_process_was_killed_another_number_of_processes_finishes_the_rest(tmp_path, checkpoint, slowly, killed):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(40)))
    running = group(tmp_path, 2, checkpoint, images)
    wait_for_files(tmp_path / "out", "*.png", 6)
    if killed == 1:
        with pytest.raises(ValueError, match="Another command is writing"):
            predict_folder(checkpoint, images, tmp_path / "out", settings=ONE)
    os.kill(running.processes[killed].pid, signal.SIGKILL)
    codes, errors = running.end()
    assert codes[killed] == -signal.SIGKILL
    assert "Another process of this run was killed" in errors[1 - killed]
    if killed == 1:
        assert "of 40 images are finished, continue with --resume" in errors[0]
    finished = {name for name in tree(tmp_path / "out") if name.endswith(".png") and not name.startswith("partial-")}
    assert 20 <= len(finished) < 40
    resume = Settings(progress=False, resume=True)
    assert group(tmp_path, 3, checkpoint, images, settings=resume).end() == ([0, 0, 0], {})
    predict_folder(checkpoint, images, tmp_path / "one", settings=ONE)
    assert tree(tmp_path / "out") == tree(tmp_path / "one")


def test_an_error_in_one_process_ends_all(tmp_path, checkpoint, monkeypatch):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(4)))
    save = Image.Image.save

    def disk_full(self, path, **options):
        if path.name.endswith("1.png"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", disk_full)
    codes, errors = group(tmp_path, 2, checkpoint, images).end()
    assert (codes, set(errors)) == ([0, 0], {0}), "only the first process reports it"
    assert errors[0].startswith("OSError: Process 1 on ")
    assert "1.png cannot be written: No space left on device; 2 of 4 images are finished" in errors[0]


def test_errors_before_the_first_image_end_all_processes(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", "1.png")
    with folder_lock(tmp_path / "out"):
        codes, errors = group(tmp_path, 2, checkpoint, images).end()
    assert codes == [0, 0]
    assert errors == {
        0: f"ValueError: Another command is writing into {tmp_path / 'out'}: wait until it ends, or "
        "choose another output."
    }


SLOW_COMMAND = """
import sys, time
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from segattn.cli import main
from segattn.predict.result_files import ResultWriter
_ChildProcessObserver.__init__.__defaults__ = (0.05,)  # Lightning looks at the processes before segattn does
write = ResultWriter.write
ResultWriter.write = lambda *arguments: (time.sleep(0.2), write(*arguments))[1]
sys.exit(main())
"""


def test_processes_that_the_command_started_end_together(tmp_path, checkpoint):
    images = save_pictures(tmp_path / "in", *(f"{i}.png" for i in range(40)))
    (tmp_path / "command.py").write_text(SLOW_COMMAND)
    arguments = ["--checkpoint", checkpoint, "--images", images, "--output", tmp_path / "out", "--device", "cpu"]
    arguments = ["predict", *map(str, arguments)]
    process = subprocess.Popen(
        [sys.executable, tmp_path / "command.py", *arguments, "--devices", "2"], stderr=subprocess.PIPE, text=True
    )
    wait_for_files(tmp_path / "out", "*.png", 4)
    (child,) = psutil.Process(process.pid).children()
    child.kill()
    _, message = process.communicate(timeout=30)
    assert message == "segattn: a process was killed by signal 9; finished results are intact.\n"
    assert process.returncode == 1
    assert main([*arguments, "--resume"]) == 0
    predict_folder(checkpoint, images, tmp_path / "one", settings=ONE)
    assert tree(tmp_path / "out") == tree(tmp_path / "one")
