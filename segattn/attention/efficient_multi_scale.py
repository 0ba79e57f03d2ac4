"""Efficient multi-scale attention: two parallel branches per group of channels that weight each other's positions.

Ouyang et al.: Efficient Multi-Scale Attention Module with Cross-Spatial Learning. ICASSP 2023,
https://arxiv.org/abs/2305.13563, figure 3. The paper calls it EMA; it has nothing to do with an exponential moving
average of weights.

In each group of channels, one branch gates the features by row and by column (as in coordinate attention, with one
shared 1x1 convolution) and normalizes them; the other branch is a 3x3 convolution. The softmax over channels of the
means of each branch weights the channels of the *other* branch. The sum of both is one map of weights for the group.

Differences from the paper: none known. The released code uses 32 groups; so does the default here if 32 divides the
number of channels.
"""

import math

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import require_divisible
from segattn.attention.block import AttentionBlock
from segattn.attention.norms import GroupNorm


class EfficientMultiScaleAttention(AttentionBlock):
    """Efficient multi-scale attention.

    Args:
        channels: number of input and output channels, divisible by the number of groups.
        groups: number of groups, which share parameters; None uses the greatest common divisor of 32 and channels.

    Examples:
        >>> import torch
        >>> from segattn.attention import EfficientMultiScaleAttention
        >>> block = EfficientMultiScaleAttention(64, groups=8)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, groups: int | None = None) -> None:
        super().__init__()
        groups = math.gcd(channels, 32) if groups is None else groups
        require_divisible(channels, groups=groups)
        self.groups = groups
        width = channels // groups
        self.norm = GroupNorm(width, width)
        self.conv1x1 = nn.Conv2d(width, width, kernel_size=1)
        self.conv3x3 = nn.Conv2d(width, width, kernel_size=3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per group and position."""
        grouped = rearrange(x, "b (g c) h w -> (b g) c h w", g=self.groups)
        means = torch.cat([grouped.mean(dim=3, keepdim=True), grouped.mean(dim=2, keepdim=True).mT], dim=2)
        rows, columns = self.conv1x1(means).split([x.shape[2], x.shape[3]], dim=2)
        gated = self.norm(grouped * rows.sigmoid() * columns.mT.sigmoid())
        local: Tensor = self.conv3x3(grouped)
        of_local = einsum(gated.mean(dim=(2, 3)).softmax(dim=1), local, "b c, b c h w -> b h w")
        of_gated = einsum(local.mean(dim=(2, 3)).softmax(dim=1), gated, "b c, b c h w -> b h w")
        weights: Tensor = (of_local + of_gated).sigmoid()[:, None]
        return rearrange(grouped * weights, "(b g) c h w -> b (g c) h w", g=self.groups)
