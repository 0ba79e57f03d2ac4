"""From images to labels, confidence and probabilities at the images' own size."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float16, UInt8
from torch import Tensor

from segattn.checkpoints.network import Network
from segattn.inference import Area, infer_bands, predicted_classes
from segattn.predict.options import Options

MAX_PROBABILITY_BYTES = 4 * 2**30


class StoppedError(RuntimeError):
    """The run was asked to stop."""


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image, at the image's own size.

    Attributes:
        labels: class indices.
        confidence: the largest class probability times 255, where it was asked for.
        probabilities: of all classes, or of the likeliest ones in falling order, where they were asked for.
        ranked: the classes that ``probabilities`` are of, where those are not all in order.
    """

    labels: UInt8[np.ndarray, "h w"]
    confidence: UInt8[np.ndarray, "h w"] | None = None
    probabilities: Float16[np.ndarray, "h w k"] | None = None
    ranked: UInt8[np.ndarray, "h w k"] | None = None


class Predictor:
    """A model with the options of a run.

    Args:
        network: the model.
        options: how it is used and what is wanted.
        stop: when set, predicting ends with :class:`StoppedError` at the next area.

    Raises:
        ValueError: if the options do not fit the model.
    """

    def __init__(self, network: Network, options: Options, stop: threading.Event | None = None) -> None:
        self.network = network
        self.options = options
        self.config = options.applied_to(network.inference)
        self.stop = stop or threading.Event()
        if isinstance(options.probabilities, int) and options.probabilities > len(network.classes):
            raise ValueError(
                f"probabilities asks for {options.probabilities} of {len(network.classes)} classes; take fewer, or all."
            )
        if network.exported and self.config.precision != "32":
            raise ValueError("The precision of an exported model is fixed: leave out precision.")

    @torch.inference_mode()
    def predict(self, images: UInt8[np.ndarray, "b h w 3"]) -> list[Prediction]:
        """Predict RGB images of one size."""
        pixels = torch.from_numpy(rearrange(images, "b h w c -> b c h w"))
        bands = infer_bands(self.network.logits, pixels, self.config, device=self.network.device)
        return self._collect(bands, len(images), (images.shape[1], images.shape[2]))

    def _collect(self, bands: Iterator[tuple[Area, Tensor]], batch: int, size: tuple[int, int]) -> list[Prediction]:
        """Turn logits (b, classes, h, w) of areas into predictions."""
        arrays = self._allocate(batch, size)
        wanted = self.options.probabilities
        for area, logits in bands:
            if self.stop.is_set():
                raise StoppedError
            part = (slice(None), slice(area.top, area.bottom), slice(area.left, area.right))
            arrays["labels"][part] = predicted_classes(logits).to(torch.uint8).cpu().numpy()
            if not (self.options.confidence or wanted):
                continue
            probabilities = logits.softmax(dim=1)
            if self.options.confidence:
                levels = (probabilities.amax(dim=1) * 255).round().to(torch.uint8)
                arrays["confidence"][part] = levels.cpu().numpy()
            if wanted == "all":
                arrays["probabilities"][part] = rearrange(probabilities, "b k h w -> b h w k").half().cpu().numpy()
            elif wanted:
                top = probabilities.topk(wanted, dim=1)
                arrays["probabilities"][part] = rearrange(top.values, "b k h w -> b h w k").half().cpu().numpy()
                arrays["ranked"][part] = rearrange(top.indices, "b k h w -> b h w k").to(torch.uint8).cpu().numpy()
        return [Prediction(**{name: array[index] for name, array in arrays.items()}) for index in range(batch)]

    def _allocate(self, batch: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
        shape = (batch, *size)
        arrays: dict[str, Any] = {"labels": np.empty(shape, np.uint8)}
        if self.options.confidence:
            arrays["confidence"] = np.empty(shape, np.uint8)
        if self.options.probabilities:
            every = self.options.probabilities == "all"
            count = len(self.network.classes) if every else int(self.options.probabilities)
            if 2 * count * size[0] * size[1] > MAX_PROBABILITY_BYTES:
                raise ValueError("its class probabilities are more than 4 GiB; ask for fewer of them, or for none")
            arrays["probabilities"] = np.empty((*shape, count), np.float16)
            if not every:
                arrays["ranked"] = np.empty((*shape, count), np.uint8)
        return arrays
