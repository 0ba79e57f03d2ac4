"""Reading many pairs of files, in this process or in several."""

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import cv2

from segattn.check.inspection import Inspection, Inspector
from segattn.io.worker_process import end_with_parent

_CHUNK = 8
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
    with ProcessPoolExecutor(workers, initializer=_start, initargs=(inspector,)) as readers:
        try:
            chunks = (indices[first : first + _CHUNK] for first in range(0, len(indices), _CHUNK))
            for future in [readers.submit(_inspect, chunk) for chunk in chunks]:
                yield from future.result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                "A reading process was killed (often: out of memory); use a smaller data.num_workers."
            ) from error
        finally:
            readers.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, only started chunks are finished


def _start(inspector: Inspector) -> None:
    global _inspector  # sent once per process instead of with every chunk
    _inspector = inspector
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the main process
    end_with_parent()
    cv2.setNumThreads(0)


def _inspect(indices: Sequence[int]) -> list[Inspection]:
    return [_inspector(index) for index in indices]
