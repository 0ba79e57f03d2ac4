"""Reading in several processes: nothing hangs, and no process is left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from segattn.check.data_check import inspect_all
from segattn.check.inspection import Inspector
from segattn.objects.size_bins import ObjectSizes
from tests.check.conftest import TWO, make_folder
from tests.data import layouts

SLOW = """
import os, signal, sys, time
from pathlib import Path
from segattn import cli
from segattn.check.inspection import Inspector
look = Inspector.__getitem__

def slowly(inspector, index):
    Path(f"reader_{os.getpid()}").touch()
    time.sleep(0.2)
    return look(inspector, index)

Inspector.__getitem__ = slowly
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have disabled it
options = ["--data.root", sys.argv[1], "--data.num_workers", "2", "--all"]
sys.exit(cli.main(["check", "--data", "FolderDataModule", *options]))
"""


@pytest.fixture
def data(tmp_path):
    return make_folder(tmp_path, [layouts.quarters([0, 1, 0, 1])] * 40, TWO)


def waits(condition, seconds=60.0):
    """Whether a condition becomes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_reader_outlives_the_command(tmp_path, data, number):
    with (tmp_path / "output").open("w") as output:
        command = subprocess.Popen(
            [sys.executable, "-c", SLOW, str(data.root)],
            cwd=tmp_path,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    assert waits(lambda: len(list(tmp_path.glob("reader_*"))) == 2)
    readers = [int(path.name.removeprefix("reader_")) for path in tmp_path.glob("reader_*")]
    if number == signal.SIGINT:
        os.killpg(command.pid, number)  # as a terminal does
    else:
        command.send_signal(number)
    code = command.wait(timeout=60)
    assert code == (130 if number == signal.SIGINT else -number)
    assert waits(lambda: not any(is_running(reader) for reader in readers))
    assert "Traceback" not in (tmp_path / "output").read_text()


class Deadly(Inspector):
    def __getitem__(self, index):
        if index == 33:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_killed_reader_is_reported_in_one_sentence(data):
    dataset = data.dataset("train")
    with pytest.raises(RuntimeError, match=r"A DataLoader worker was killed .*use a smaller data\.num_workers"):
        list(inspect_all(Deadly(dataset, ObjectSizes()), range(40), workers=2))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_inspections_are_in_the_order_of_the_indices(data, workers):
    order = [3, 1, *range(20, 40), 2]
    seen = inspect_all(Inspector(data.dataset("train"), ObjectSizes()), order, workers=workers)
    assert [inspection.index for inspection in seen] == order
