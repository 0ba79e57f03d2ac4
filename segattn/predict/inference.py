"""From images to labels: whole or in windows, at several scales, mirrored; large images piece by piece."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Float16, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from segattn.inference.backends import Network
from segattn.inference.sliding_window import Area, blend_windows
from segattn.io.image_files import resize_image
from segattn.models.segmentation_model import predicted_classes
from segattn.predict.options import Options
from segattn.predict.spool import Spool

BAND_BYTES = 256 * 2**20
"""Logits at the images' own size are made in bands of rows of about this size, since 150 classes of a photograph of
12 million pixels would take 7 GB."""

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
        stop: when set, predicting ends with :class:`StoppedError` at the next piece.

    Raises:
        ValueError: if the options do not fit the model's size rule or its number of classes.
    """

    def __init__(self, network: Network, options: Options, stop: threading.Event | None = None) -> None:
        self.network = network
        self.options = options
        self.rule = options.applied_to(network.size_rule)
        self.stop = stop or threading.Event()
        if isinstance(options.probabilities, int) and options.probabilities > len(network.classes):
            raise ValueError(
                f"probabilities asks for {options.probabilities} of {len(network.classes)} classes; take fewer, or all."
            )

    @torch.inference_mode()
    def predict(self, images: UInt8[np.ndarray, "b h w 3"]) -> list[Prediction]:
        """Predict RGB images of one size."""
        size = (images.shape[1], images.shape[2])
        pixels = torch.from_numpy(rearrange(images, "b h w c -> b c h w"))
        if self._keeps_size(size):
            scores = self._pieces(lambda area: area.of(pixels), size)
        else:
            scores = self._bands(images, size)
        return self._collect(scores, len(images), size)

    @torch.inference_mode()
    def predict_large(self, image: Spool) -> Prediction:
        """Predict an image that is kept in a file; with windows, and unless it is resized, in bounded memory."""
        if not self._keeps_size(image.size):
            return self.predict(image.rows(0, image.size[0])[None])[0]
        scores = self._pieces(lambda area: torch.from_numpy(image.crop(area)).movedim(-1, 0)[None], image.size)
        return self._collect(scores, 1, image.size)[0]

    def _keeps_size(self, size: tuple[int, int]) -> bool:
        return self.options.scales == (1.0,) and self.rule.resized(*size) == size

    def _pieces(self, read: Callable[[Area], Tensor], size: tuple[int, int]) -> Iterator[tuple[Area, Tensor]]:
        """Logits (views, b, classes, h, w) of the areas of images of which ``read`` gives the pixels (b, 3, h, w)."""

        def logits_of(area: Area) -> Tensor:
            if self.stop.is_set():
                raise StoppedError
            images = read(area).to(self.network.device).float() / 255
            views = [self.network.logits(images)]
            if self.options.flip:
                views.append(self.network.logits(images.flip(-1)).flip(-1))
            return torch.stack(views)

        if self.rule.window is None or self.rule.stride is None:
            whole = Area(0, 0, *size)
            return iter([(whole, logits_of(whole))])
        return blend_windows(logits_of, size, self.rule.window, self.rule.stride)

    def _bands(self, images: UInt8[np.ndarray, "b h w 3"], size: tuple[int, int]) -> Iterator[tuple[Area, Tensor]]:
        """Scores at the images' size from computations at other sizes, in bands of rows."""
        maps = [self._logits_at(images, scale, size) for scale in self.options.scales]
        row_bytes = sum(logits[..., 0, 0].numel() for logits in maps) * size[1] * 4
        step = max(1, min(size[0], BAND_BYTES // row_bytes))
        for top in range(0, size[0], step):
            bottom = min(top + step, size[0])
            bands = [resized_rows(logits, size, top, bottom) for logits in maps]
            yield Area(top, 0, bottom, size[1]), torch.cat(bands) if len(bands) > 1 else bands[0]

    def _logits_at(self, images: np.ndarray, scale: float, size: tuple[int, int]) -> Tensor:
        """Logits (views, b, classes, h, w) at a multiple of the rule's size."""
        height, width = (max(1, round(side * scale)) for side in self.rule.resized(*size))
        resized = torch.from_numpy(np.stack([resize_image(image, (height, width)) for image in images]))
        pixels = rearrange(resized, "b h w c -> b c h w")
        pieces = list(self._pieces(lambda area: area.of(pixels), (height, width)))
        if len(pieces) == 1:
            return pieces[0][1]
        logits = pieces[0][1].new_empty(*pieces[0][1].shape[:-2], height, width)
        for area, piece in pieces:
            area.of(logits).copy_(piece)
        return logits

    def _collect(self, scores: Iterator[tuple[Area, Tensor]], batch: int, size: tuple[int, int]) -> list[Prediction]:
        """Turn logits (views, b, classes, h, w) of areas into predictions, averaging the views' probabilities."""
        arrays = self._allocate(batch, size)
        wanted = self.options.probabilities
        for area, logits in scores:
            if self.stop.is_set():
                raise StoppedError
            part = (slice(None), slice(area.top, area.bottom), slice(area.left, area.right))
            averaged = reduce(logits.softmax(dim=2), "v b k h w -> b k h w", "mean") if len(logits) > 1 else logits[0]
            arrays["labels"][part] = predicted_classes(averaged).to(torch.uint8).cpu().numpy()
            if not (self.options.confidence or wanted):
                continue
            probabilities = averaged if len(logits) > 1 else averaged.softmax(dim=1)
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


def resized_rows(
    logits: Float[Tensor, "v b k h w"], size: tuple[int, int], top: int, bottom: int
) -> Float[Tensor, "v b k rows new_w"]:
    """Rows of the bilinearly resized logits, without resizing all of them.

    Args:
        logits: at the model's size.
        size: (height, width) of the whole result.
        top: the first row wanted.
        bottom: the row after the last one.
    """
    if (top, bottom) == (0, size[0]):
        return _resize(logits, size)  # to the bit as in validation
    height = logits.shape[-2]
    position = (torch.arange(top, bottom, device=logits.device, dtype=torch.float64) + 0.5) * height / size[0] - 0.5
    position = position.clamp(min=0)
    upper = position.long()
    weight = rearrange((position - upper).to(logits.dtype), "rows -> rows 1")
    lower = (upper + 1).clamp(max=height - 1)
    rows = logits[..., upper, :] * (1 - weight) + logits[..., lower, :] * weight
    return _resize(rows, (bottom - top, size[1]))


def _resize(logits: Float[Tensor, "v b k h w"], size: tuple[int, int]) -> Float[Tensor, "v b k new_h new_w"]:
    if logits.shape[-2:] == size:
        return logits
    flat = interpolate(rearrange(logits, "v b k h w -> (v b) k h w"), size=size, mode="bilinear", align_corners=False)
    return rearrange(flat, "(v b) k h w -> v b k h w", v=len(logits))
