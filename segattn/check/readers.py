"""Reading many pairs of files, in this process or in several."""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from ctypes import c_bool

import cv2

from segattn.check.inspection import Inspection, Inspector
from segattn.io.worker_process import end_with_parent

_CHUNK = 16
"""Pairs per message between processes."""

_inspector: Inspector
"""The inspector of a reading process."""


def inspect_all(inspector: Inspector, indices: Sequence[int], *, workers: int) -> Iterator[Inspection]:
    """Inspect pairs of files.

    Args:
        inspector: inspects one pair.
        indices: indices of the pairs.
        workers: number of reading processes; 0 reads in this process.

    Yields:
        One inspection per pair, in the order of the indices.

    Raises:
        RuntimeError: if a reading process was killed.
    """
    if not workers:
        yield from map(inspector, indices)
        return
    stop = multiprocessing.RawValue(c_bool, False)
    readers = ProcessPoolExecutor(workers, initializer=_start, initargs=(inspector, stop))
    finished = False
    try:
        chunks = (indices[first : first + _CHUNK] for first in range(0, len(indices), _CHUNK))
        for future in [readers.submit(_inspect, chunk) for chunk in chunks]:
            yield from future.result()
        finished = True
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A reading process was killed (often: out of memory); use a smaller data.num_workers."
        ) from error
    finally:
        stop.value = not finished  # after Ctrl-C, end the processes at once
        readers.shutdown(wait=finished)


def _start(inspector: Inspector, stop: c_bool) -> None:
    global _inspector  # sent once per process instead of with every chunk
    _inspector = inspector
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the main process
    end_with_parent(stop)
    cv2.setNumThreads(0)


def _inspect(indices: Sequence[int]) -> list[Inspection]:
    return [_inspector(index) for index in indices]
