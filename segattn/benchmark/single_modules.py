"""Attention blocks and heads by name, as modules from one tensor to one tensor.

They are made by functions with picklable arguments, so that another process can make them too.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

import segattn.attention
import segattn.heads
from segattn.benchmark.measure import Shape
from segattn.heads.base import FeatureInfo
from segattn.models.encoders import Encoder, EncoderSpec


def attention_block(name: str, channels: int, options: Mapping[str, Any]) -> nn.Module:
    """Make a block of :mod:`segattn.attention`."""
    return _make(name, segattn.attention, channels, **options)


def head_on_features(
    name: str, num_classes: int, encoder: EncoderSpec, *, shape: Shape, options: Mapping[str, Any]
) -> nn.Module:
    """Make a head of :mod:`segattn.heads` that runs on random features with the shapes of an encoder's features."""
    info = Encoder(encoder).info
    return HeadOnFeatures(_make(name, segattn.heads, info, num_classes, **options), info, shape)


class HeadOnFeatures(nn.Module):
    """A head on random features instead of those of an image; they are made before the head is measured."""

    def __init__(self, head: nn.Module, info: FeatureInfo, shape: Shape) -> None:
        super().__init__()
        self.head = head
        self._levels = tuple(zip(info.channels, info.strides, strict=True))
        self._features: dict[tuple[Any, ...], list[Tensor]] = {}
        self._features_of(torch.empty(shape))

    def forward(self, image: Tensor) -> Tensor:
        """All logits of the head in one tensor, so that each receives a gradient."""
        output = self.head(self._features_of(image))
        return torch.cat([logits.flatten() for logits in (output.logits, *output.auxiliary.values())])

    def _features_of(self, image: Tensor) -> list[Tensor]:
        batch, _, height, width = image.shape
        key = (batch, height, width, image.device)
        if key not in self._features:
            sizes = [(batch, count, -(-height // stride), -(-width // stride)) for count, stride in self._levels]
            self._features[key] = [torch.randn(size, device=image.device, requires_grad=True) for size in sizes]
        return self._features[key]


def use_implementation(module: nn.Module, implementation: str) -> int:
    """Switch all parts that have a fused and a plain implementation; returns their number."""
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "implementation")]
    for part in parts:
        part.implementation = implementation
    return len(parts)


def _make(name: str, package: Any, *arguments: Any, **options: Any) -> nn.Module:
    """Make a module by name; an unknown name or option is a ValueError."""
    if name not in package.__all__:
        raise ValueError(f"{package.__name__} has no {name}; it has: {', '.join(package.__all__)}.")
    try:
        module: nn.Module = getattr(package, name)(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"{name} cannot be made: {error}.") from error
    return module
