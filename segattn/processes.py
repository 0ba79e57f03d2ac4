"""Several processes on one or several machines, which Lightning Fabric starts and connects.

Fabric starts the processes of one machine, or recognizes those that torchrun, SLURM or another launcher started. They
exchange objects with gloo, also if they compute on GPUs. One process alone needs no process group and no Lightning.
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from subprocess import Popen
from typing import Any, TypeVar

import torch
import torch.distributed

from segattn.data.workers import available_core_ids, available_cores
from segattn.io.error_text import first_line, one_line, without_frames

Result = TypeVar("Result")

LONGEST_RUN = timedelta(days=60)
"""How long a process waits for the others. Those that ended are noticed at once."""

USER_ERRORS = (ValueError, OSError, RuntimeError, MemoryError)


class ProcessError(OSError):
    """Another process of the run failed or was killed."""


class Processes:
    """The only process of a run.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.
        device: device of this process.
        cores: number of cores for this process: its part of the cores that it may use.
    """

    rank = 0
    count = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cores = available_cores()

    def together(self, function: Callable[[], Result]) -> Result:
        """Call a function in every process, and wait for all of them.

        If it fails in some processes, the first process raises the error, and all others exit.
        """
        return function()

    def scatter(self, shares: Sequence[Result]) -> Result:
        """The share of this process; the first process passes the shares of all."""
        return shares[0]

    def broadcast(self, value: Result) -> Result:
        """The value of the first process."""
        return self.scatter([value] * self.count)


class ConnectedProcesses(Processes):
    """Several processes.

    Args:
        fabric: a Lightning Fabric that was launched.
    """

    def __init__(self, fabric: Any) -> None:
        super().__init__(fabric.device)
        self.rank, self.count = fabric.global_rank, fabric.world_size
        own = (socket.gethostname(), available_core_ids())
        all_cores: list[Any] = [None] * self.count
        with _connection():
            torch.distributed.all_gather_object(all_cores, own)
        self.cores = max(1, available_cores() // all_cores.count(own))  # SLURM may give each process its own cores

    def together(self, function: Callable[[], Result]) -> Result:
        """See :meth:`Processes.together`."""
        own: BaseException | None = None
        try:
            result = function()
        except USER_ERRORS as error:
            own = error
        messages: list[str | None] = [None] * self.count
        with _connection():
            torch.distributed.all_gather_object(messages, self._message(own) if own else None)
        message = next(filter(None, messages), None)
        if message is None:
            return result
        if self.rank > 0:
            raise SystemExit(0) from own  # the first process reports the error and determines the exit code
        raise own or ProcessError(message)

    def scatter(self, shares: Sequence[Result]) -> Result:
        """See :meth:`Processes.scatter`."""
        own: list[Any] = [None]
        with _connection():
            torch.distributed.scatter_object_list(own, list(shares) if self.rank == 0 else None)
        return own[0]  # type: ignore[no-any-return]

    def _message(self, error: BaseException) -> str:
        return f"Process {self.rank} on {socket.gethostname()}: {without_frames(error)}"


def choose_device(name: str | None) -> torch.device:
    """A device by name; None is CUDA if available, otherwise the CPU."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"The device {name!r} cannot be used here: {first_line(error)}.") from error
    return device


def start_processes(device: str | None = None, *, devices: int = 1, num_nodes: int = 1) -> Processes:
    """Start or find the processes of a run. All of them continue from here.

    Processes that share cores divide them: torch uses as many threads as each has cores, unless ``OMP_NUM_THREADS`` is
    set.

    Args:
        device: torch device; None is CUDA if there is a GPU, otherwise the CPU.
        devices: number of processes per machine, each with one device.
        num_nodes: number of machines.

    Raises:
        ValueError: if there is no such device, or the launcher started another number of processes.
    """
    world = int(os.environ["WORLD_SIZE"]) if torch.distributed.is_torchelastic_launched() else 1
    if devices * num_nodes == 1:  # torchrun knows the numbers
        devices = int(os.environ["LOCAL_WORLD_SIZE"]) if world > 1 else 1
        num_nodes = world // devices
    if devices * num_nodes == 1:
        return Processes(choose_device(device))
    accelerator = device or choose_device(None).type
    if ":" in accelerator:
        raise ValueError(f"{accelerator} is one device: several processes need --device {accelerator.split(':')[0]}.")
    threads_are_given = "OMP_NUM_THREADS" in os.environ  # Lightning sets it in the first process
    processes = ConnectedProcesses(_launch(accelerator, devices, num_nodes))
    if not threads_are_given:
        torch.set_num_threads(processes.cores)
    if processes.rank > 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all processes; the first one reports it
    return processes


def limit_threads(processes: int = 1) -> None:
    """Let torch use at most the cores of this process, unless ``OMP_NUM_THREADS`` is set.

    Args:
        processes: number of processes that share the available cores.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, available_cores() // processes)))


def _launch(accelerator: str, devices: int, num_nodes: int) -> Any:
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    strategy = DDPStrategy(process_group_backend="gloo", timeout=LONGEST_RUN)
    try:
        with _no_progress_messages():
            fabric = Fabric(accelerator=accelerator, strategy=strategy, devices=devices, num_nodes=num_nodes)
            children = getattr(strategy.launcher, "procs", [])  # filled by the launch
            parent = os.getppid() if strategy.local_rank > 0 else None
            watched: list[Popen[Any]] = []
            threading.Thread(target=_watch, args=(children, watched, parent), daemon=True).start()
            fabric.launch()
            watched.extend(children)
            children.clear()  # Lightning would kill this process without our message if it looked first
    except (MisconfigurationException, *USER_ERRORS) as error:
        raise ValueError(
            f"{num_nodes} x {devices} processes on {accelerator} cannot be started: {one_line(error)}."
        ) from error
    return fabric


def _watch(children: Sequence[Popen[Any]], watched: Sequence[Popen[Any]], parent: int | None) -> None:
    """End this process if one of its children or its parent was killed, so that nobody waits for it."""
    while parent is None or os.getppid() == parent:
        time.sleep(0.5)
        for child in (*children, *watched):
            if child.poll() and child.returncode != -signal.SIGINT:  # Ctrl-C reaches this process, too
                how = f"was killed by signal {-child.returncode}" if child.returncode < 0 else "failed"
                print(f"segattn: a process {how}; finished results are intact.", file=sys.stderr)  # noqa: T201
                os._exit(1)
    os._exit(1)


@contextmanager
def _no_progress_messages() -> Iterator[None]:
    """Lightning announces each process that it starts."""
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _connection() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessError("Another process of this run was killed or lost its connection.") from error
