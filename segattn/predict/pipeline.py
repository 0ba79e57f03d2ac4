"""Reading, computing and writing side by side: threads for each, a few batches under way, results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np
import torch

from segattn.predict.inference import Prediction, Predictor

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Picture:
    """One image on its way.

    Attributes:
        pixels: RGB; None where there are none.
        notes: what is to be known about the image.
        prediction: what the model says.
        reason: why there are no pixels or no prediction.
    """

    pixels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    prediction: Prediction | None = None
    reason: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the pixels."""
        return () if self.pixels is None else self.pixels.shape

    @property
    def waits(self) -> bool:
        """Whether it is to be predicted, together with others of its shape."""
        return self.pixels is not None and self.prediction is None


class Pipeline(Generic[Item, Result]):
    """Takes items through reading, a model and writing.

    Args:
        predictors: one for every device; each batch goes to the first that is free.
        read: the picture of an item; it runs in several threads.
        write: what becomes of an item and its picture; it runs in several threads.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        read: Callable[[Item], Picture],
        write: Callable[[Item, Picture], Result],
    ) -> None:
        self.read = read
        self.write = write
        self.stop = predictors[0].stop
        self._free: SimpleQueue[Predictor] = SimpleQueue()
        for predictor in predictors:
            self._free.put(predictor)
        helpers = min(8, max(2, (os.cpu_count() or 1) // 2))
        self._depth = 4 + 2 * len(predictors)
        self._reading = ThreadPoolExecutor(helpers, "read")
        self._computing = ThreadPoolExecutor(len(predictors), "compute")
        self._writing = ThreadPoolExecutor(helpers, "write")

    def run(self, batches: Iterable[list[Item]]) -> Iterator[tuple[Item, Result]]:
        """Results of all items in their order; when the caller stops, so does everything that is under way."""
        try:
            for items, results in ahead(batches, self._submit, self._depth):
                for item, result in zip(items, results, strict=True):
                    yield item, result.result()
        except BaseException:
            self.stop.set()
            raise
        finally:
            for pool in (self._reading, self._computing, self._writing):
                pool.shutdown(cancel_futures=True)

    def _submit(self, items: list[Item]) -> list[Future[Result]]:
        reading = [self._reading.submit(self.read, item) for item in items]
        computing = self._computing.submit(self._compute, reading)
        return [
            self._writing.submit(lambda item, index: self.write(item, computing.result()[index]), item, index)
            for index, item in enumerate(items)
        ]

    def _compute(self, reading: Sequence[Future[Picture]]) -> list[Picture]:
        pictures = [future.result() for future in reading]
        predictor = self._free.get()
        try:
            waiting = [index for index, picture in enumerate(pictures) if picture.waits]
            for shape in sorted({pictures[index].shape for index in waiting}):
                same = [index for index in waiting if pictures[index].shape == shape]
                predicted = _predict(predictor, [pictures[index] for index in same])
                for index, picture in zip(same, predicted, strict=True):
                    pictures[index] = picture
            return pictures
        finally:
            self._free.put(predictor)


def ahead(items: Iterable[Item], submit: Callable[[Item], Result], depth: int) -> Iterator[tuple[Item, Result]]:
    """Every item with what was submitted for it, in order, while the next ``depth`` are submitted already."""
    waiting: deque[tuple[Item, Result]] = deque()
    for item in items:
        waiting.append((item, submit(item)))
        if len(waiting) > depth:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def failure_reason(error: Exception) -> str:
    """Why a model gave no prediction, in a sentence without a full stop."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text:
        return "there is not enough memory for it; try sliding windows (--window) or a smaller --batch-size"
    return f"the model failed: {text}" if isinstance(error, RuntimeError) else text


def _predict(predictor: Predictor, pictures: Sequence[Picture]) -> list[Picture]:
    """Predict pictures of one size."""
    images = np.stack([picture.pixels for picture in pictures if picture.pixels is not None])
    try:
        predictions = predictor.predict(images)
    except (RuntimeError, ValueError, MemoryError) as error:
        if predictor.stop.is_set():
            raise
        return [Picture(notes=picture.notes, reason=failure_reason(error)) for picture in pictures]
    return [
        Picture(picture.pixels, notes=picture.notes, prediction=prediction)
        for picture, prediction in zip(pictures, predictions, strict=True)
    ]
