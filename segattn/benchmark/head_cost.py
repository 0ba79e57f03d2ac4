"""A head to measure, on features as an encoder makes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import segattn.heads
from segattn.benchmark.block_cost import made
from segattn.benchmark.measure import Shape
from segattn.models.encoders import Encoder, EncoderSpec


def head_on_features(
    name: str, num_classes: int, encoder: EncoderSpec, *, shape: Shape, options: Mapping[str, Any]
) -> nn.Module:
    """A head of :mod:`segattn.heads` by name, fed with features as the encoder makes them of images of a shape.

    Raises:
        ValueError: if there is none of that name, or it does not take the options.
    """
    features = Encoder(encoder).info
    head = made(name, segattn.heads, features, num_classes, **options)
    return HeadOnFeatures(head, features.channels, features.strides, shape)


class HeadOnFeatures(nn.Module):
    """A head whose input are random features, one set for every size of image; they are made before it is measured.

    Args:
        head: what is measured.
        channels: of every level.
        strides: of every level.
        shape: of the images, (B, 3, H, W).
    """

    def __init__(self, head: nn.Module, channels: Sequence[int], strides: Sequence[int], shape: Shape) -> None:
        super().__init__()
        self.head = head
        self._levels = tuple(zip(channels, strides, strict=True))
        self._features: dict[tuple[Any, ...], list[Tensor]] = {}
        self._of(torch.empty(shape))

    def forward(self, image: Tensor) -> Tensor:
        """All logits of the head in one tensor, so that all of them get a gradient."""
        output = self.head(self._of(image))
        return torch.cat([logits.flatten() for logits in (output.logits, *output.auxiliary.values())])

    def _of(self, image: Tensor) -> list[Tensor]:
        batch, _, height, width = image.shape
        key = (batch, height, width, image.device)
        if key not in self._features:
            sizes = [(batch, width_, -(-height // s), -(-width // s)) for width_, s in self._levels]
            self._features[key] = [torch.randn(size, device=image.device, requires_grad=True) for size in sizes]
        return self._features[key]
