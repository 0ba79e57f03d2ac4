"""From images to logits: the one path of validation, test, prediction, explanation and the check of exported files.

Each image is resized by the size rule and every scale, and goes through the model in one pass or in sliding windows.
Its logits are then resized to the size of the image, in bands of rows: all logits of a photo of 12 million pixels and
150 classes would take 7 GB.
"""

import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int64, Num, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from segattn.inference.inference_config import InferenceConfig, Pair
from segattn.inference.sliding_window import Area, blend_windows, window_starts

LogitsFunction = Callable[[Tensor], Tensor]
"""A model as a function: images (b, c, h, w), RGB in 0..1 -> logits (b, k, h, w)."""

Images = Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]

BAND_BYTES = 32 * 2**20
"""Approximate size of a band of logits at the size of the image; small bands stay in the caches of a CPU."""

MANY_WINDOWS = 1000
"""If an image takes more windows, a warning says so: it often means a window that is far too small."""

_warned: set[tuple[Pair | None, Pair | None]] = set()
"""Windows and strides that a warning has named."""


def infer(
    logits_of: LogitsFunction, images: Images, config: InferenceConfig, *, device: torch.device | None = None
) -> Float[Tensor, "b k h w"]:
    """Compute the logits of images at their original size.

    With several scales or with flip, the result is the logarithm of the averaged class probabilities. The model should
    be in evaluation mode; use ``torch.inference_mode()`` unless gradients are needed.

    Args:
        logits_of: the model.
        images: RGB at their original size, float32 in 0..1 or uint8, or float32 of other channels.
        config: how the model is applied.
        device: device of the model; None is the device of the images.

    Returns:
        float32 logits on the device of the model.

    Examples:
        >>> import torch
        >>> from segattn.checkpoints import load_model
        >>> from segattn.inference import infer
        >>> trained, image = load_model("best.ckpt"), torch.rand(1, 3, 60, 90)
        >>> with torch.inference_mode():
        ...     logits = infer(lambda images: trained.model(images).logits, image, trained.inference)
        >>> logits.shape
        torch.Size([1, 7, 60, 90])
    """
    return _assembled(infer_bands(logits_of, images, config, device=device), (images.shape[-2], images.shape[-1]))


def infer_labels(
    logits_of: LogitsFunction, images: Images, config: InferenceConfig, *, device: torch.device | None = None
) -> Int64[Tensor, "b h w"]:
    """Compute the class of every pixel, in less memory than all logits take.

    The arguments are those of :func:`infer`.

    Examples:
        >>> import torch
        >>> from segattn.checkpoints import load_model
        >>> from segattn.inference import infer_labels
        >>> trained, image = load_model("best.ckpt"), torch.rand(1, 3, 60, 90)
        >>> with torch.inference_mode():
        ...     labels = infer_labels(lambda images: trained.model(images).logits, image, trained.inference)
        >>> labels.shape
        torch.Size([1, 60, 90])
    """
    bands = infer_bands(logits_of, images, config, device=device)
    return _assembled(((area, predicted_classes(logits)) for area, logits in bands), tuple(images.shape[-2:]))


def infer_bands(
    logits_of: LogitsFunction, images: Images, config: InferenceConfig, *, device: torch.device | None = None
) -> Iterator[tuple[Area, Float[Tensor, "b k rows columns"]]]:
    """Compute the same logits as :func:`infer` area by area.

    With windows on images that are not resized, at most one row of windows is in memory at a time.

    Yields:
        An area and its logits; the areas tile the images.

    Examples:
        >>> import torch
        >>> from segattn.checkpoints import load_model
        >>> from segattn.inference import InferenceConfig, infer_bands
        >>> trained, image = load_model("best.ckpt"), torch.rand(1, 3, 60, 90)
        >>> config = InferenceConfig(window=(32, 90))
        >>> with torch.inference_mode():
        ...     bands = infer_bands(lambda images: trained.model(images).logits, image, config)
        ...     rows = [(area.top, area.bottom) for area, logits in bands]
        >>> rows
        [(0, 21), (21, 28), (28, 60)]
    """
    size = (images.shape[-2], images.shape[-1])
    sizes = [_scaled(config.size_rule.resized(*size), scale) for scale in config.scales]

    def views_of(images: Images) -> Float[Tensor, "v b k h w"]:
        """Logits of the images and, with flip, of their mirror images."""
        prepared = _prepared(images, device)
        with torch.autocast(prepared.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            logits = logits_of(prepared)
            mirrored = logits_of(prepared.flip(-1)).flip(-1) if config.flip else None
        return logits[None].float() if mirrored is None else torch.stack([logits, mirrored]).float()

    if sizes == [size]:
        for area, logits in _model_areas(views_of, images, config):
            yield area, _averaged(list(logits))
        return
    maps: list[Tensor] = [
        _assembled(_model_areas(views_of, _resized(images, scaled, device), config), scaled)  # (v, b, k, h, w)
        for scaled in sizes
    ]
    views = [view for logits in maps for view in logits]
    row_bytes = 4 * size[1] * sum(view[..., 0, 0].numel() for view in views)
    step = max(1, BAND_BYTES // row_bytes)
    for top in range(0, size[0], step):
        bottom = min(top + step, size[0])
        yield Area(top, 0, bottom, size[1]), _averaged([resized_rows(view, size, top, bottom) for view in views])


def predicted_classes(logits: Float[Tensor, "b k h w"]) -> Int64[Tensor, "b h w"]:
    """Class index of the largest logit of every pixel.

    Examples:
        >>> import torch
        >>> from segattn.inference import predicted_classes
        >>> predicted_classes(torch.tensor([[[[0.1, 2.0]], [[1.5, 0.3]]]]))
        tensor([[[1, 0]]])
    """
    return logits.max(dim=1).indices  # five times as fast as argmax on a CPU


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _prepared(images: Num[Tensor, "b c h w"], device: torch.device | None) -> Float[Tensor, "b c h w"]:
    """Float images in 0..1 in one memory layout: the layout selects the kernels of the model, and so its rounding."""
    images = images.to(device) if device is not None else images
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    return images.contiguous(memory_format=torch.contiguous_format)


def _resized(images: Images, size: tuple[int, int], device: torch.device | None) -> Float[Tensor, "b c new_h new_w"]:
    """Resize images bilinearly, with an antialiasing filter where they shrink."""
    if images.shape[-2:] == size:
        return _prepared(images, device)
    # One channel at a time, because the float copy of a large image takes four times its memory.
    channels = (_prepared(channel, device) for channel in torch.split(images, 1, dim=1))
    return torch.cat([interpolate(channel, size, mode="bilinear", antialias=True) for channel in channels], dim=1)


def _model_areas(
    views_of: LogitsFunction, images: Images, config: InferenceConfig
) -> Iterator[tuple[Area, Float[Tensor, "v b k rows columns"]]]:
    """Logits at the size that the model sees: of the image in one pass, or of its windows."""
    size = (images.shape[-2], images.shape[-1])
    if config.window is None or config.window_stride is None:
        yield Area(0, 0, *size), views_of(images)
        return
    _warn_of_many_windows(size, config.window, config.window_stride)
    whole = views_of(images) if config.whole_image_weight else None
    windows = blend_windows(lambda area: views_of(area.of(images)), size, config.window, config.window_stride)
    for area, views in windows:
        yield area, views if whole is None else torch.lerp(views, area.of(whole), config.whole_image_weight)


def _warn_of_many_windows(size: Pair, window: Pair, stride: Pair) -> None:
    """Log a warning, once for a window and stride."""
    down, across = (len(window_starts(s, min(w, s), t)) for s, w, t in zip(size, window, stride, strict=True))
    if down * across > MANY_WINDOWS and (window, stride) not in _warned:
        _warned.add((window, stride))
        logging.getLogger(__name__).warning(
            f"warning: An image of {size[0]}x{size[1]} pixels takes {down * across:,} windows of "
            f"{window[0]}x{window[1]}, and each goes through the model: use larger windows if this takes too long."
        )


def _assembled(parts: Iterator[tuple[Area, Tensor]], size: tuple[int, ...]) -> Tensor:
    """Put areas that tile an image into one tensor (..., h, w)."""
    whole: Tensor | None = None
    for area, part in parts:
        if part.shape[-2:] == size:
            return part
        whole = part.new_empty(*part.shape[:-2], *size) if whole is None else whole
        area.of(whole).copy_(part)
    assert whole is not None
    return whole


def _averaged(views: Sequence[Float[Tensor, "b k h w"]]) -> Float[Tensor, "b k h w"]:
    """The logits of one view, or the logarithm of the mean probabilities of several."""
    if len(views) == 1:
        return views[0]
    mean = views[0].softmax(dim=1)
    for view in views[1:]:
        mean = mean + view.softmax(dim=1)
    return (mean / len(views)).clamp(min=torch.finfo(mean.dtype).tiny).log()


def resized_rows(
    logits: Float[Tensor, "b k h w"], size: tuple[int, int], top: int, bottom: int
) -> Float[Tensor, "b k rows new_w"]:
    """Rows ``top`` to ``bottom - 1`` of the logits resized bilinearly to ``size``, without resizing all of them."""
    height, width = logits.shape[-2:]
    if (top, bottom) == (0, size[0]):
        return logits if (height, width) == size else interpolate(logits, size, mode="bilinear", align_corners=False)
    if height == size[0]:
        rows = logits[..., top:bottom, :]
    else:
        # Between which two rows of the map the centers of the wanted rows lie, and how far from the upper one.
        position = (torch.arange(top, bottom, device=logits.device, dtype=torch.float64) + 0.5) * height / size[0] - 0.5
        position = position.clamp(min=0)
        upper = position.long()
        weight = rearrange((position - upper).to(logits.dtype), "rows -> rows 1")
        lower = (upper + 1).clamp(max=height - 1)
        rows = torch.lerp(logits[..., upper, :], logits[..., lower, :], weight)
    if width == size[1]:
        return rows
    return interpolate(rows, (bottom - top, size[1]), mode="bilinear", align_corners=False)
