"""Processes of a launcher, such as torchrun or SLURM, which fork from the tests."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lightning.fabric  # noqa: F401  # once, and not in every process
import pytest
from lightning.fabric.plugins.environments.lightning import find_free_network_port

NEEDS_FORK = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork"),
]


def torchrun(rank: int, count: int, port: int) -> dict[str, str]:
    """What torchrun sets on one machine."""
    variables = {"TORCHELASTIC_RUN_ID": "0", "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": count}
    variables |= {"LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {name: str(value) for name, value in variables.items()}


def slurm(rank: int, count: int, port: int) -> dict[str, str]:
    """What srun sets for one task on each of several machines."""
    variables = {"NTASKS": count, "NTASKS_PER_NODE": 1, "NNODES": count, "PROCID": rank, "LOCALID": 0, "NODEID": rank}
    variables |= {"JOB_ID": 7, "JOB_NAME": "predict", "NODELIST": "127.0.0.1"}
    return {f"SLURM_{name}": str(value) for name, value in variables.items()} | {"MASTER_PORT": str(port)}


class Group:
    """Processes of a launcher, which fork from this one."""

    def __init__(self, folder: Path, count: int, function: Callable[[], object], *, launcher=torchrun) -> None:
        self.folder = folder / f"errors of {count}"
        self.folder.mkdir()
        port = find_free_network_port()
        context = multiprocessing.get_context("fork")
        self.processes = [
            context.Process(target=self.run, args=(function, rank, launcher(rank, count, port)))
            for rank in range(count)
        ]
        for process in self.processes:
            process.start()

    def run(self, function, rank, environment) -> None:
        os.environ.update(environment)
        try:
            function()
        except Exception as error:
            (self.folder / str(rank)).write_text(f"{type(error).__name__}: {error}")

    def end(self) -> tuple[list[int], dict[int, str]]:
        """The exit codes and the errors."""
        for process in self.processes:
            process.join(60)
            assert process.exitcode is not None, "a process hangs"
        codes = [process.exitcode for process in self.processes]
        return codes, {int(path.name): path.read_text() for path in sorted(self.folder.iterdir())}


def wait_for_files(folder: Path, pattern: str, count: int) -> None:
    end = time.monotonic() + 200
    while len(list(folder.rglob(pattern))) < count:
        assert time.monotonic() < end
        time.sleep(0.01)
