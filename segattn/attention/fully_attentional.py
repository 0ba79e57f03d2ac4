"""Fully attentional block: channel attention inside each row and each column.

Song et al.: Fully Attentional Network for Semantic Segmentation. AAAI 2022, https://arxiv.org/abs/2112.04108,
equations 2 to 4.

In each of the W columns, the C channels attend to each other. The query and the value are the features (C, H) of the
column. The key is an encoding (C, H) of the image: the mean over each row, then a linear layer over channels. The same
happens in each of the H rows, with the mean over each column. Both results are added, scaled by gamma, added to the
input, and passed through a 3x3 conv-BN-ReLU.

Differences from the paper: none known. Differences from the released code: in a batch of two or more images the
released code pairs the encoding of one image with the features of another (it uses `repeat` instead of an interleaved
repeat). Here each image is paired with its own encoding, so its output does not depend on the batch. For one image the
results are the same, and released weights load (conv1 -> column_encoding, conv2 -> row_encoding), but they were trained
with the wrong pairs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import require_choice
from segattn.attention.block import AttentionBlock
from segattn.attention.dot_product import (
    Implementation,
    add_gradients,
    as_autocast,
    attend,
    block_buffer,
    dot_product_attention,
    register_gradient,
)

LINES = 16
"""Columns or rows to copy into dense memory together: whole cache lines, and few enough to stay in the cache."""

CHANNELS = 32
"""Channels of these lines to copy together."""

COLUMNS_AND_ROWS = (2, 1)
"""The axis of an image (c, h, w) that numbers its columns, and the axis that numbers its rows."""


def fully_attentional(
    x: Float[Tensor, "b c h w"],
    column_key: Float[Tensor, "b c h"],
    row_key: Float[Tensor, "b c w"],
    *,
    implementation: Implementation = "fused",
) -> Float[Tensor, "b c h w"]:
    """Channel-to-channel attention inside each column plus the same inside each row.

    This is the sum in equation 4, without gamma and residual. The features ``x`` are query and value. All columns share
    one key, and so do all rows. For ``implementation`` see :class:`FullyAttentional`.
    """
    exporting = torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()
    if implementation == "fused" and not exporting and (not x.is_cuda or x.dtype == torch.float64):
        x, column_key, row_key = as_autocast(x, column_key, row_key)
        attended: Tensor = _blocked(x.contiguous(), column_key, row_key)
        return attended
    by_column = _along(x, column_key, lines="b w c h", implementation=implementation)
    return by_column + _along(x, row_key, lines="b h c w", implementation=implementation)


def _along(
    x: Float[Tensor, "b c h w"], key: Float[Tensor, "b c n"], *, lines: str, implementation: Implementation
) -> Float[Tensor, "b c h w"]:
    """Channel-to-channel attention inside each column or each row."""
    features = rearrange(x, f"b c h w -> {lines}")
    attended = dot_product_attention(features, key[:, None], features, implementation=implementation)
    return rearrange(attended, f"{lines} -> b c h w")


@torch.library.custom_op("segattn::fully_attentional", mutates_args=())
def _blocked(x: Tensor, column_key: Tensor, row_key: Tensor) -> Tensor:
    """Per image: gather some columns, attend inside each, write them to the output; then add the rows the same way."""
    total = torch.empty_like(x)
    buffer = _buffer(x)
    room = x.new_empty(2, LINES * x.shape[1] * max(x.shape[2:]))  # dense copies of the input and output lines
    with torch.autocast(x.device.type, enabled=False):
        for image, out, *keys in zip(x, total, column_key, row_key, strict=True):
            for axis, key in zip(COLUMNS_AND_ROWS, keys, strict=True):
                for lines, sums in zip(*(line_blocks(part, axis, LINES) for part in (image, out)), strict=True):
                    features, attended = (part[: lines.numel()].view(lines.shape) for part in room)
                    _gather(lines, out=features)
                    attend(features, key[None], features, out=attended, buffer=buffer)
                    if axis == COLUMNS_AND_ROWS[0]:
                        sums.copy_(attended)
                    else:
                        sums.add_(attended)
    return total


@torch.library.custom_op("segattn::fully_attentional_backward", mutates_args=())
def _blocked_backward(gradient: Tensor, x: Tensor, column_key: Tensor, row_key: Tensor) -> list[Tensor]:
    """Gradients of the features and of both keys, for each image and some columns or rows at a time."""
    totals = [torch.zeros_like(part) for part in (x, column_key, row_key)]
    buffers = _buffer(x), _buffer(x)
    with torch.autocast(x.device.type, enabled=False):
        for g, image, out, *keys in zip(gradient, x, totals[0], column_key, row_key, totals[1], totals[2], strict=True):
            for axis, key, key_sum in zip(COLUMNS_AND_ROWS, keys[:2], keys[2:], strict=True):
                for of_lines, lines, sums in zip(
                    *(line_blocks(part, axis, LINES) for part in (g, image, out)), strict=True
                ):
                    # 1. Copy the lines of the features and of the upstream gradient to dense memory.
                    features, upstream = (_gather(part, out=g.new_empty(part.shape)) for part in (lines, of_lines))
                    # 2. Attention inside each line. The features are query and value, so `total` sums both gradients.
                    #    All lines share one key, whose gradient sums over them.
                    total = torch.zeros_like(features)
                    inputs, outs = (features, key[None], features), (total, key_sum[None], total)
                    add_gradients(upstream, inputs, outs, buffers)
                    # 3. Add the result to the same lines of the gradient.
                    sums.add_(total)
    return totals


def line_blocks(image: Float[Tensor, "c h w"], axis: int, lines: int) -> Sequence[Float[Tensor, "lines c n"]]:
    """Views of at most ``lines`` neighboring columns or rows each; for ``axis`` see :data:`COLUMNS_AND_ROWS`."""
    return torch.split(image.movedim(axis, 0), lines)


def _gather(lines: Float[Tensor, "lines c n"], *, out: Tensor) -> Tensor:
    """Copy columns or rows to ``out``, a few channels at a time so that the memory they span stays in the cache."""
    for dense, part in zip(torch.split(out, CHANNELS, dim=1), torch.split(lines, CHANNELS, dim=1), strict=True):
        dense.copy_(part)
    return out


def _buffer(x: Float[Tensor, "b c h w"]) -> Tensor:
    return block_buffer(x, groups=LINES, tokens=x.shape[1])


register_gradient(_blocked, _blocked_backward, like=0)


@register_flop_formula(torch.ops.segattn.fully_attentional)
def _forward_flops(x: torch.Size, *_: Any, **__: Any) -> int:
    b, c, h, w = x
    return 2 * b * 4 * c * c * h * w


@register_flop_formula(torch.ops.segattn.fully_attentional_backward)
def _backward_flops(gradient: torch.Size, *_: Any, **__: Any) -> int:
    b, c, h, w = gradient
    return 2 * b * 10 * c * c * h * w


class FullyAttentional(AttentionBlock):
    """Fully attentional block with its closing convolution.

    Args:
        channels: number of input and output channels.
        implementation: ``plain`` builds the (H + W) maps of C² pairs, ``fused`` does not; results agree within
            rounding.

    Examples:
        >>> import torch
        >>> from segattn.attention import FullyAttentional
        >>> block = FullyAttentional(64)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, implementation: Implementation = "fused") -> None:
        super().__init__()
        require_choice(("fused", "plain"), implementation=implementation)
        self.implementation = implementation
        self.column_encoding = nn.Linear(channels, channels)
        self.row_encoding = nn.Linear(channels, channels)
        self.conv = Conv2dNormActivation(channels, channels, kernel_size=3)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus gamma times what the channels gathered, through conv-BN-ReLU; gamma starts at 0."""
        column_key = self.column_encoding(x.mean(dim=3).mT).mT
        row_key = self.row_encoding(x.mean(dim=2).mT).mT
        mixed = torch.addcmul(
            x, self.gamma, fully_attentional(x, column_key, row_key, implementation=self.implementation)
        )
        refined: Tensor = self.conv(mixed)
        return refined
