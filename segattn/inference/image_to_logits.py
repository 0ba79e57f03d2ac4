"""From images to logits: the one path of validation, test, prediction, explanation and the check of exported files.

An image is resized by the size rule and each scale, computed in one pass or in sliding windows, and its logits are
resized back to its own size. The result is made in bands of rows, because the logits of a photograph of 12 million
pixels and 150 classes take 7 GB.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn.functional import interpolate

from segattn.inference.inference_config import InferenceConfig
from segattn.inference.sliding_window import Area, blend_windows

LogitsFunction = Callable[[Tensor], Tensor]
"""A model as a function: images (b, 3, h, w) in 0..1 -> logits (b, k, h, w)."""

BAND_BYTES = 256 * 2**20
"""Logits at the size of the image are resized in bands of rows of about this size."""


def infer(
    logits_of: LogitsFunction,
    images: Num[Tensor, "b 3 h w"],
    config: InferenceConfig,
    *,
    device: torch.device | None = None,
) -> Float[Tensor, "b k h w"]:
    """Compute the logits of images at their own size.

    With several scales or with flip, the result is the logarithm of the averaged probabilities.

    Args:
        logits_of: the model.
        images: RGB at their original size, float32 in 0..1 or uint8.
        config: how the model is applied.
        device: where the model computes; None is the device of the images.

    Returns:
        float32 logits on the device of the model.
    """
    logits = images.new_empty(0)
    for area, part in infer_bands(logits_of, images, config, device=device):
        if not logits.numel():
            logits = part.new_empty(*part.shape[:2], *images.shape[-2:])
        area.of(logits).copy_(part)
    return logits


def infer_bands(
    logits_of: LogitsFunction,
    images: Num[Tensor, "b 3 h w"],
    config: InferenceConfig,
    *,
    device: torch.device | None = None,
) -> Iterator[tuple[Area, Float[Tensor, "b k rows columns"]]]:
    """Compute the same logits as :func:`infer`, area by area.

    With windows, and where the image is not resized, no more than one band of windows is in memory at a time.

    Yields:
        An area and its logits; the areas tile the images.
    """
    size = (images.shape[-2], images.shape[-1])
    sizes = [_scaled(config.size_rule.resized(*size), scale) for scale in config.scales]

    def views_of(images: Tensor) -> Tensor:
        """Logits (views, b, k, h, w) of the images and, with flip, of their mirror images."""
        prepared = _prepared(images, device)
        autocast = torch.autocast(prepared.device.type, torch.bfloat16) if config.precision == "bf16" else nullcontext()
        with autocast:
            views = [logits_of(prepared)]
            if config.flip:
                views.append(logits_of(prepared.flip(-1)).flip(-1))
        return torch.stack([view.float() for view in views])

    if sizes == [size]:
        for area, views in _model_areas(views_of, images, config):
            yield area, _averaged(views)
        return
    maps = [_model_map(views_of, _resized(_prepared(images, device), scaled), config) for scaled in sizes]
    row_bytes = 4 * size[1] * sum(views[..., 0, 0].numel() for views in maps)
    step = max(1, BAND_BYTES // row_bytes)
    for top in range(0, size[0], step):
        bottom = min(top + step, size[0])
        views = torch.cat([resized_rows(views, size, top, bottom) for views in maps])
        yield Area(top, 0, bottom, size[1]), _averaged(views)


def _prepared(images: Num[Tensor, "b 3 h w"], device: torch.device | None) -> Float[Tensor, "b 3 h w"]:
    """Float images in 0..1 in one memory layout: the layout chooses the kernels, and so the rounding, of the model."""
    on_device = images.to(device) if device is not None else images
    scaled = on_device.float() / 255 if on_device.dtype == torch.uint8 else on_device
    return scaled.contiguous(memory_format=torch.contiguous_format)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def model_input(
    images: Num[Tensor, "b 3 h w"], config: InferenceConfig, *, device: torch.device | None = None
) -> Float[Tensor, "b 3 model_h model_w"]:
    """Images as the model sees them in one pass at scale 1: float in 0..1, resized by the size rule."""
    return _resized(_prepared(images, device), config.size_rule.resized(images.shape[-2], images.shape[-1]))


def _resized(images: Float[Tensor, "b 3 h w"], size: tuple[int, int]) -> Float[Tensor, "b 3 new_h new_w"]:
    """Resize images bilinearly, with a filter against aliasing where they shrink."""
    if images.shape[-2:] == size:
        return images
    return interpolate(images, size=size, mode="bilinear", antialias=True)


def _model_areas(
    views_of: LogitsFunction, images: Num[Tensor, "b 3 h w"], config: InferenceConfig
) -> Iterator[tuple[Area, Float[Tensor, "v b k rows columns"]]]:
    """Logits at the size that the model sees: of the image in one pass, or of its windows."""
    size = (images.shape[-2], images.shape[-1])
    if config.window is None or config.window_stride is None:
        yield Area(0, 0, *size), views_of(images)
        return
    whole = views_of(images) if config.whole_image_weight else None
    windows = blend_windows(lambda area: views_of(area.of(images)), size, config.window, config.window_stride)
    for area, views in windows:
        yield area, views if whole is None else torch.lerp(views, area.of(whole), config.whole_image_weight)


def _model_map(
    views_of: LogitsFunction, images: Float[Tensor, "b 3 h w"], config: InferenceConfig
) -> Float[Tensor, "v b k h w"]:
    """The same in one tensor."""
    areas = _model_areas(views_of, images, config)
    if config.window is None:
        return next(areas)[1]
    logits = images.new_empty(0)
    for area, views in areas:
        if not logits.numel():
            logits = views.new_empty(*views.shape[:-2], *images.shape[-2:])
        area.of(logits).copy_(views)
    return logits


def _averaged(views: Float[Tensor, "v b k h w"]) -> Float[Tensor, "b k h w"]:
    """Logits of the mean probabilities of all views."""
    if len(views) == 1:
        return views[0]
    mean: Tensor = reduce(views.softmax(dim=2), "v b k h w -> b k h w", "mean")
    return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()


def resized_rows(
    logits: Float[Tensor, "v b k h w"], size: tuple[int, int], top: int, bottom: int
) -> Float[Tensor, "v b k rows new_w"]:
    """Some rows of the bilinearly resized logits, without resizing all of them.

    Args:
        logits: at the size that the model sees.
        size: (height, width) of the complete result.
        top: the first row.
        bottom: the row after the last one.
    """
    height, width = logits.shape[-2:]
    if height == size[0]:
        rows = logits[..., top:bottom, :]
    else:
        # Between which two rows of the map the centers of the wanted rows lie, and how far from the upper one.
        position = (torch.arange(top, bottom, device=logits.device, dtype=torch.float64) + 0.5) * height / size[0] - 0.5
        position = position.clamp(min=0)
        upper = position.long()
        weight = rearrange((position - upper).to(logits.dtype), "rows -> rows 1")
        lower = (upper + 1).clamp(max=height - 1)
        rows = logits[..., upper, :] * (1 - weight) + logits[..., lower, :] * weight
    if width == size[1]:
        return rows
    flat = rearrange(rows, "v b k rows w -> (v b) k rows w")
    wide = interpolate(flat, size=(bottom - top, size[1]), mode="bilinear", align_corners=False)
    return rearrange(wide, "(v b) k rows w -> v b k rows w", v=len(logits))


def predicted_classes(logits: Float[Tensor, "b k h w"]) -> Tensor:
    """Class index of the largest logit of every pixel, (b, h, w) int64."""
    return logits.max(dim=1).indices  # five times as fast as argmax on a CPU
