import multiprocessing
import os

import psutil
import pytest
import torch

from segattn.processes import _watch, start_processes
from tests.launched_processes import NEEDS_FORK, Group, wait_for_files

pytestmark = NEEDS_FORK


def test_a_started_process_ends_with_its_parent(tmp_path):
    context = multiprocessing.get_context("fork")

    def start_another():
        child = context.Process(target=_watch, args=([], os.getpid()))
        child.start()
        (tmp_path / "new").write_text(str(child.pid))
        (tmp_path / "new").rename(tmp_path / "pid")
        child.join()

    parent = context.Process(target=start_another)
    parent.start()
    wait_for_files(tmp_path, "pid", 1)
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    parent.kill()
    child.wait(30)


def test_one_process_needs_no_group():
    processes = start_processes("cpu")
    assert (processes.rank, processes.count, str(processes.device)) == (0, 1, "cpu")
    assert (processes.together(lambda: 3), processes.scatter([4])) == (3, 4)


def test_devices_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"cuda:1 is one device: several processes need --device cuda\."):
        start_processes("cuda:1", devices=2)
    with pytest.raises(ValueError, match="1 x 2 processes on cuda cannot be started: "):
        start_processes("cuda", devices=2)


@pytest.mark.parametrize(("own", "given", "expected"), [(False, None, "4 4"), (True, None, "8 8"), (False, "3", "4 3")])
def test_processes_divide_the_cores_that_they_share(tmp_path, monkeypatch, own, given, expected):
    def record():
        first = 8 * int(os.environ["RANK"]) if own else 0
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(first, first + 8)), raising=False)
        torch.set_num_threads(3)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        os.environ.update({"OMP_NUM_THREADS": given} if given else {})
        processes = start_processes("cpu")
        (tmp_path / f"of {processes.rank}").write_text(f"{processes.cores} {torch.get_num_threads()}")

    assert Group(tmp_path, 2, record).end() == ([0, 0], {})
    assert [(tmp_path / f"of {rank}").read_text() for rank in range(2)] == [expected] * 2


def test_the_value_of_the_first_process_reaches_all(tmp_path):
    def record():
        processes = start_processes("cpu")
        value = processes.broadcast(processes.rank + 5)
        (tmp_path / f"of {processes.rank}").write_text(str(value))

    assert Group(tmp_path, 2, record).end() == ([0, 0], {})
    assert [(tmp_path / f"of {rank}").read_text() for rank in range(2)] == ["5", "5"]
