"""Efficient local attention: one weight per channel and row, and one per channel and column, without a bottleneck.

Xu and Wan: ELA: Efficient Local Attention for Deep Convolutional Neural Networks. 2024,
https://arxiv.org/abs/2403.01123, equations 4 to 8.

    rows = sigmoid(group norm(1-D convolution of the mean over W)), columns the same with H, output = x * rows * columns

The paper's four sizes, with C the channels:

    | size  | kernel_size | conv_groups | norm_groups |
    | ELA-T | 5           | C           | 32          |
    | ELA-B | 7           | C           | 16          |
    | ELA-S | 5           | C / 8       | 16          |
    | ELA-L | 7           | C / 8       | 16          |

The default is ELA-B.

Differences from the paper: none known. As in its listing, the two directions share convolution and norm.
"""

import math

from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import require_odd
from segattn.attention.block import AttentionBlock
from segattn.attention.norms import GroupNorm


class ELA(AttentionBlock):
    """Efficient local attention.

    Args:
        channels: number of input and output channels.
        kernel_size: kernel size of the 1-D convolution, odd.
        conv_groups: number of groups of the 1-D convolution, a divisor of the channels; None makes it depth-wise.
        norm_groups: number of groups of the group norm, a divisor of the channels; None uses the greatest common
            divisor of 16 and channels.

    Examples:
        >>> import torch
        >>> from segattn.attention import ELA
        >>> block = ELA(64, kernel_size=5)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        conv_groups: int | None = None,
        norm_groups: int | None = None,
    ) -> None:
        super().__init__()
        require_odd("kernel_size", kernel_size)
        conv_groups = channels if conv_groups is None else conv_groups
        norm_groups = math.gcd(channels, 16) if norm_groups is None else norm_groups
        self.weights = nn.Sequential(
            nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=conv_groups, bias=False),
            GroupNorm(norm_groups, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times the weights of their row and of their column."""
        rows: Tensor = self.weights(x.mean(dim=3))
        columns: Tensor = self.weights(x.mean(dim=2))
        return x * rows[:, :, :, None] * columns[:, :, None, :]
