"""Attention inside the residual blocks of ResNet-family encoders, as in the papers of SE, ECA, SA and SCSA.

Works with the blocks of torchvision and timm (``BasicBlock``, ``Bottleneck`` and blocks with the same attribute names).
The encoder's weights are loaded before the blocks are inserted, so pretrained weights still fit.
"""

from typing import Any, Literal

from torch import Tensor, nn

from segattn.attention.block import BlockFactory

Position = Literal["middle", "last"]


def insert_in_residual_blocks(encoder: nn.Module, attention: BlockFactory, position: Position) -> list[nn.Module]:
    """Insert an attention block into every residual block of an encoder, in place, and return the new blocks.

    The position ``last`` is after the last convolution and its norm, before the shortcut is added; ``middle`` is after
    the middle convolution, its norm and its activation, before the last convolution.
    """
    if position not in ("middle", "last"):
        raise ValueError(f"The position in a residual block must be middle or last, got {position!r}.")
    blocks: list[Any] = [module for module in encoder.modules() if _is_residual(module)]
    if not blocks:
        raise ValueError("This encoder has no ResNet-style residual blocks: choose an encoder of the ResNet family.")
    inserted = []
    for block in blocks:
        number = 3 if hasattr(block, "conv3") else 2
        if position == "last":
            norm = getattr(block, f"bn{number}")
            inserted.append(attention(norm.num_features))
            setattr(block, f"bn{number}", nn.Sequential(norm, inserted[-1], _Copy()))
        else:
            conv = getattr(block, f"conv{number}")
            inserted.append(attention(conv.in_channels))
            setattr(block, f"conv{number}", nn.Sequential(inserted[-1], conv))
    return inserted


def _is_residual(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("conv1", "bn1", "conv2", "bn2")) and hasattr(module, "downsample")


class _Copy(nn.Module):
    """Copies its input: the shortcut is added in place, but the backward pass of a final ReLU reads its own output."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clone()
