"""Loading processes: how many, and how they start."""

import os
import signal

import cv2


def available_core_ids() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(available_core_ids())


def start_worker(worker: int) -> None:
    """Set up a loading process: one OpenCV thread, and signals are left to the training process.

    Terminals and clusters send signals to all processes of a group, but the training process finishes its step or
    validation first and still needs its workers. A second SIGTERM ends them.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
