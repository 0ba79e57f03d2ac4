"""Attention inside the residual blocks of ResNet-family encoders, where the papers of SE, ECA, SA and SCSA put it.

The blocks are those of torchvision and timm (``BasicBlock``, ``Bottleneck`` and what has their form). Weights are
loaded before anything is inserted, so pretrained weights keep fitting.
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn

Position = Literal["middle", "last"]


def insert_in_residual_blocks(
    encoder: nn.Module, attention: Callable[[int], nn.Module], position: Position
) -> list[nn.Module]:
    """Put an attention block into every residual block of an encoder.

    Args:
        encoder: changed in place.
        attention: made from the number of channels at its place.
        position: ``last`` is after the last convolution and its norm, before the shortcut is added; ``middle`` is after
            the middle convolution, its norm and its activation, before the last convolution.

    Returns:
        The attention blocks, which are newly initialized.

    Raises:
        ValueError: if the encoder has no such blocks or the position is unknown.
    """
    if position not in ("middle", "last"):
        raise ValueError(f"The position in a residual block must be middle or last, got {position!r}.")
    blocks: list[Any] = [module for module in encoder.modules() if _is_residual(module)]
    if not blocks:
        raise ValueError("This encoder has no residual blocks of ResNet's form; take one of the ResNet family.")
    inserted = []
    for block in blocks:
        number = 3 if hasattr(block, "conv3") else 2
        if position == "last":
            norm = getattr(block, f"bn{number}")
            inserted.append(attention(norm.num_features))
            setattr(block, f"bn{number}", nn.Sequential(norm, inserted[-1], *_protection(inserted[-1])))
        else:
            conv = getattr(block, f"conv{number}")
            inserted.append(attention(conv.in_channels))
            setattr(block, f"conv{number}", nn.Sequential(inserted[-1], conv))
    return inserted


def _is_residual(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("conv1", "bn1", "conv2", "bn2")) and hasattr(module, "downsample")


class _Copy(nn.Module):
    """A new tensor of the same content."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()


def _protection(attention: nn.Module) -> list[nn.Module]:
    """What keeps the shortcut from being added into the output of a final ReLU, which the backward pass reads."""
    return [_Copy()] if isinstance(list(attention.modules())[-1], nn.ReLU) else []
