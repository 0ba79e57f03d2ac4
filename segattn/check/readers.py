"""Reading many pairs of files, in this process or in several."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_bool

import cv2

from segattn.check.inspection import Inspection, Inspector
from segattn.io.error_text import one_line
from segattn.io.worker_process import end_with_parent

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
        RuntimeError: if a process died, or what a data set of the user's own raises in one.
    """
    if not workers:
        yield from map(inspector, indices)
        return
    stop = multiprocessing.RawValue(c_bool, False)
    readers = ProcessPoolExecutor(workers, initializer=_begin, initargs=(inspector, stop))
    finished = False
    try:
        chunks = (indices[first : first + _CHUNK] for first in range(0, len(indices), _CHUNK))
        for future in [readers.submit(_inspect, chunk) for chunk in chunks]:
            yield from future.result()
        finished = True
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A process that reads files died: often memory runs out, so take fewer data.num_workers."
        ) from error
    finally:
        stop.value = not finished  # nobody waits for what is left
        readers.shutdown(wait=finished)


def _begin(inspector: Inspector, stop: c_bool) -> None:
    global _inspector  # sent once to a process, not with every message
    _inspector = inspector
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    end_with_parent(stop)
    cv2.setNumThreads(0)


def _inspect(indices: Sequence[int]) -> list[Inspection]:
    try:
        return [_inspector(index) for index in indices]
    except Exception as error:  # of any kind, which may not find its way to the other process
        raise RuntimeError(f"{type(error).__name__}: {one_line(error)}") from error
