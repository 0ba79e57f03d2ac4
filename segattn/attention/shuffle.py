"""Shuffle attention: half of each group of channels is gated by channel, the other half by position; then a shuffle.

Zhang and Yang: SA-Net: Shuffle Attention for Deep Convolutional Neural Networks. ICASSP 2021,
https://arxiv.org/abs/2102.00240, equations 1 to 4.

    channel half:  x1 * sigmoid(W1 * mean over positions + b1)      (eqs. 1, 2)
    spatial half:  x2 * sigmoid(W2 * group norm(x2) + b2)           (eq. 3)

Differences from the paper: none known. The paper uses 64 groups, which needs a multiple of 128 channels; so does the
default here for any such multiple, and fewer groups for other numbers of channels.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import require_divisible
from segattn.attention.block import AttentionBlock
from segattn.attention.norms import GroupNorm


class ShuffleAttention(AttentionBlock):
    """Shuffle attention.

    Args:
        channels: number of input and output channels, divisible by twice the number of groups.
        groups: number of groups, which share parameters; None uses the greatest common divisor of 64 and half the
            channels.

    Examples:
        >>> import torch
        >>> from segattn.attention import ShuffleAttention
        >>> block = ShuffleAttention(64, groups=8)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, groups: int | None = None) -> None:
        super().__init__()
        groups = math.gcd(channels // 2, 64) if groups is None else groups
        require_divisible(channels, twice_the_groups=2 * groups)
        self.groups = groups
        width = channels // (2 * groups)
        self.channel_weight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.channel_bias = nn.Parameter(torch.ones(1, width, 1, 1))
        self.spatial_weight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.spatial_bias = nn.Parameter(torch.ones(1, width, 1, 1))
        self.norm = GroupNorm(width, width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The gated features with their halves interleaved."""
        by_channel, by_position = rearrange(x, "b (g two c) h w -> two (b g) c h w", g=self.groups, two=2)
        mean = by_channel.mean(dim=(2, 3), keepdim=True)
        by_channel = by_channel * (self.channel_weight * mean + self.channel_bias).sigmoid()
        normed: Tensor = self.norm(by_position)
        by_position = by_position * (self.spatial_weight * normed + self.spatial_bias).sigmoid()
        gated = rearrange([by_channel, by_position], "two (b g) c h w -> b (g two c) h w", g=self.groups)
        shuffled: Tensor = rearrange(gated, "b (two c) h w -> b (c two) h w", two=2)
        return shuffled
