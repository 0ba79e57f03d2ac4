"""Inference by definition: every view of the complete image at once, in double precision where possible."""

import torch
from torch.nn.functional import interpolate

from tests.oracles.sliding_window import blended


def probabilities(logits_of, images, config):
    """Mean class probabilities (b, k, h, w) over scales and flips, at the size of the images."""
    height, width = images.shape[-2:]
    base = config.size_rule.resized(height, width)
    views = []
    for scale in config.scales:
        size = tuple(max(1, round(side * scale)) for side in base)
        resized = images if size == (height, width) else interpolate(images, size, mode="bilinear", antialias=True)
        for flip in (False, True) if config.flip else (False,):
            logits = _model_logits(lambda x, flip=flip: _mirrored(logits_of, x, flip), resized, config)
            full = interpolate(logits.double(), (height, width), mode="bilinear", align_corners=False)
            views.append(full.softmax(dim=1))
    return torch.stack(views).mean(dim=0)


def _mirrored(logits_of, images, flip):
    return logits_of(images.flip(-1)).flip(-1) if flip else logits_of(images)


def _model_logits(logits_of, images, config):
    whole = logits_of(images)
    if config.window is None:
        return whole
    size = images.shape[-2:]
    windows = blended(
        lambda area: logits_of(images[..., area[0] : area[2], area[1] : area[3]]),
        size,
        config.window,
        config.window_stride,
    )
    return (1 - config.whole_image_weight) * windows + config.whole_image_weight * whole
