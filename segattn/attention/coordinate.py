"""Coordinate attention: one weight per channel and row, and one per channel and column, encoded together.

Hou et al.: Coordinate Attention for Efficient Mobile Network Design. CVPR 2021, https://arxiv.org/abs/2103.02907,
equations 4 to 9.

    f = h_swish(BN(conv 1x1 of [mean over W; mean over H])) (eq. 6), split into rows f_h and columns f_w
    output = x * sigmoid(conv 1x1 of f_h) * sigmoid(conv 1x1 of f_w) (eqs. 7 to 9)

Differences from the paper: none known.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import require_positive
from segattn.attention.block import AttentionBlock


class CoordinateAttention(AttentionBlock):
    """Coordinate attention.

    Args:
        channels: number of input and output channels.
        reduction: the encoding has ``channels // reduction`` channels, but at least ``min_width``.
        min_width: smallest width of the encoding.

    Examples:
        >>> import torch
        >>> from segattn.attention import CoordinateAttention
        >>> block = CoordinateAttention(64)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, reduction: int = 32, min_width: int = 8) -> None:
        super().__init__()
        require_positive(reduction=reduction, min_width=min_width)
        width = max(min_width, channels // reduction)
        self.encode = Conv2dNormActivation(
            channels, width, kernel_size=1, bias=True, activation_layer=nn.Hardswish, inplace=None
        )
        self.rows = nn.Conv2d(width, channels, kernel_size=1)
        self.columns = nn.Conv2d(width, channels, kernel_size=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times the weights of their row and of their column."""
        means = torch.cat([x.mean(dim=3, keepdim=True), x.mean(dim=2, keepdim=True).mT], dim=2)
        rows, columns = self.encode(means).split([x.shape[2], x.shape[3]], dim=2)
        row_weights: Tensor = self.rows(rows)
        column_weights: Tensor = self.columns(columns.mT)
        return x * row_weights.sigmoid() * column_weights.sigmoid()
