"""Compute labels, confidence and probabilities of images."""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float16, Shaped, UInt8

from segattn.checkpoints.network import Network
from segattn.inference import infer_bands, predicted_classes
from segattn.io.error_text import is_out_of_memory, one_line
from segattn.io.raster_files import Pixels
from segattn.predict.options import Options

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BYTES = 4 * 2**30
"""Largest result of one batch."""


class StoppedError(Exception):
    """The run was stopped while an image was computed."""


@dataclass(frozen=True)
class Prediction:
    """What a model computes for an image, at the size of the image; None is not written.

    The confidence is the largest class probability times 255. The probabilities are those of all classes, or of the
    most likely ones in descending order; ``ranked`` are then their class indices.
    """

    labels: UInt8[np.ndarray, "h w"]
    confidence: UInt8[np.ndarray, "h w"] | None = None
    probabilities: Float16[np.ndarray, "h w k"] | None = None
    ranked: UInt8[np.ndarray, "h w k"] | None = None


class Predictor:
    """A model with the options of a run. It can be used from several threads.

    Raises:
        ValueError: if the options do not fit the model.
    """

    def __init__(self, network: Network, options: Options) -> None:
        self.network = network
        self.options = options
        self.config = options.applied_to(self.network.inference)
        if isinstance(options.probabilities, int) and options.probabilities > len(self.network.classes):
            raise ValueError(
                f"probabilities {options.probabilities} exceeds the number of classes, {len(self.network.classes)}."
            )
        if self.network.exported and self.config.precision != "32":
            raise ValueError("The precision of an exported model is fixed: leave out precision.")
        self._stop = threading.Event()
        self._computing = ThreadPoolExecutor(1, "compute")
        self._workers = 1 + min(8, max(2, os.cpu_count() or 1))

    def map_ahead(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Call a function in several threads, a few items ahead of the caller, and yield its results in order.

        Reading and writing overlap with computing when the function does all three. If the caller stops, or the
        function raises, the remaining items are dropped.
        """
        pool = ThreadPoolExecutor(self._workers, "read and write")
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * self._workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            self._stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            self._stop.clear()

    def predict(self, images: Sequence[Shaped[np.ndarray, "_h _w _c"]]) -> list[Prediction | str]:
        """Predict images; those of equal size are computed together.

        Returns:
            For every image a prediction, or the reason why there is none.
        """
        results: dict[int, Prediction | str] = {}
        for shape in sorted({image.shape for image in images}):
            indices = [index for index, image in enumerate(images) if image.shape == shape]
            batch = [images[index] for index in indices]
            try:
                predictions: Sequence[Prediction | str] = self._computing.submit(self._compute, batch).result()
            except (RuntimeError, ValueError, MemoryError) as error:
                predictions = [_reason(error)] * len(indices)
            results |= zip(indices, predictions, strict=True)
        return [results[index] for index in range(len(images))]

    @torch.inference_mode()
    def _compute(self, images: Sequence[Pixels]) -> list[Prediction]:
        batch = images[0][None] if len(images) == 1 else np.stack(images)  # a single large image is not copied
        pixels = rearrange(torch.from_numpy(batch), "b h w c -> b c h w")
        arrays: dict[str, np.ndarray] = {}
        for area, logits in infer_bands(self.network.logits, pixels, self.config, device=self.network.device):
            if self._stop.is_set():
                raise StoppedError
            part = (slice(None), slice(area.top, area.bottom), slice(area.left, area.right))
            for name, result in self._results(logits).items():
                values = result.cpu().numpy()
                if name not in arrays:
                    arrays[name] = _empty((*batch.shape[:3], *values.shape[3:]), values.dtype)
                arrays[name][part] = values
        return [Prediction(**{name: array[index] for name, array in arrays.items()}) for index in range(len(images))]

    def _results(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        """The attributes of a prediction from logits (b, classes, h, w)."""
        results = {"labels": predicted_classes(logits).to(torch.uint8)}
        wanted = self.options.probabilities
        if not (self.options.confidence or wanted):
            return results
        probabilities = logits.softmax(dim=1)
        if self.options.confidence:
            results["confidence"] = (probabilities.amax(dim=1) * 255).round().to(torch.uint8)
        if wanted == "all":
            results["probabilities"] = rearrange(probabilities, "b k h w -> b h w k").half()
        elif wanted:
            top = probabilities.topk(wanted, dim=1)
            results["probabilities"] = rearrange(top.values, "b k h w -> b h w k").half()
            results["ranked"] = rearrange(top.indices, "b k h w -> b h w k").to(torch.uint8)
        return results


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise ValueError("its class probabilities take more than 4 GiB: write fewer of them, or none")
    return np.empty(shape, dtype)


def _reason(error: Exception) -> str:
    if is_out_of_memory(error):
        return "there is not enough memory for it; try sliding windows (--window) or a smaller --batch-size"
    return f"the model failed: {one_line(error)}" if isinstance(error, RuntimeError) else one_line(error)
