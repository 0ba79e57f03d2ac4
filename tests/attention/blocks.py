"""Blocks with random weights, so that no gate is zero and no norm is the identity."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def build(block: Callable[..., nn.Module], channels: int, *, scale: float = 0.5, **keywords: Any) -> nn.Module:
    """A block with random parameters and running statistics."""
    module = block(channels, **keywords)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, scale)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return module
