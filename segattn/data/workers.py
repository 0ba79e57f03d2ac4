"""Loading processes: how many, and how they start."""

import ctypes
import os
import signal
from contextlib import suppress
from math import ceil
from pathlib import Path

import cv2

CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows the limits of a container."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of mallopt, from malloc.h."""


def available_core_ids() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def available_cores() -> int:
    """Number of cores that this process may use, at most those that the CPU time of its container amounts to."""
    return min(len(available_core_ids()), _container_cores())


def _container_cores() -> int:
    """The limit of CPU time of a container, in cores (cgroups of version 2 or 1), or a large number."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with suppress(OSError, ValueError):  # without a limit, the quota is "max" or -1
            quota, period = map(int, " ".join((CGROUPS / name).read_text() for name in files).split())
            if quota > 0:
                return ceil(quota / period)
    return 1 << 20


def start_worker(worker: int) -> None:
    """Set up a loading process: one OpenCV thread, and signals are left to the training process.

    Terminals and clusters send signals to all processes of a group, but the training process finishes its step or
    validation first and still needs its workers. A second SIGTERM ends them.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def keep_freed_memory() -> None:
    """Let the C library of Linux keep freed memory for the next arrays of this process.

    By default it returns large arrays to the system, and the next ones cost a page fault for every 4 KiB. Has no effect
    with other C libraries.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: there is no CDLL(None) on Windows
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)  # the largest value that is allowed
        library.mallopt(_TRIM_THRESHOLD, 256 << 20)
