"""Reading many pairs of files, in this process or in several."""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2

from segattn.check.inspection import Inspection, Inspector
from segattn.processes import end_with

_CHUNK = 16
"""Pairs that a process looks at before it tells: between processes, a message costs more than what it says."""

_inspector: Inspector
"""Of a reading process."""


def inspect_all(inspector: Inspector, indices: Sequence[int], *, workers: int) -> Iterator[Inspection]:
    """Look at pairs.

    Args:
        inspector: looks at one.
        indices: of the pairs.
        workers: processes that read; 0 reads in this one.

    Yields:
        What each pair tells, in the order of the indices.

    Raises:
        RuntimeError: if a process died.
    """
    if not workers:
        yield from map(inspector, indices)
        return
    try:
        with ProcessPoolExecutor(workers, initializer=_begin, initargs=(inspector, os.getpid())) as readers:
            yield from readers.map(_inspect, indices, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A process that reads files died: often memory runs out, so take fewer data.num_workers."
        ) from error


def _begin(inspector: Inspector, parent: int) -> None:
    global _inspector  # sent once to a process, not with every message
    _inspector = inspector
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    end_with(parent)
    cv2.setNumThreads(0)


def _inspect(index: int) -> Inspection:
    return _inspector(index)
