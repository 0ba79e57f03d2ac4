"""Spatial group-wise enhance: each group of channels weights its positions by their similarity to the mean.

Li et al.: Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks. 2019,
https://arxiv.org/abs/1905.09646, equations 1 to 4.

    c = (mean over positions) . x (eqs. 1, 2), normalized over positions (eq. 3), x * sigmoid(gamma * c + beta) (eq. 4)

Differences from the paper: equation 3 divides by the standard deviation over n positions; the released code and this
one divide by that over n - 1. Difference from the released code: on a 1x1 map the weight is sigmoid(beta) instead of
nan. Paper and code use 64 groups; so does the default here if 64 divides the number of channels.
"""

import math

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import require_divisible
from segattn.attention.block import AttentionBlock


class SGE(AttentionBlock):
    """Spatial group-wise enhance.

    Args:
        channels: number of input and output channels, divisible by the number of groups.
        groups: number of groups; None uses the greatest common divisor of 64 and channels.

    Examples:
        >>> import torch
        >>> from segattn.attention import SGE
        >>> block = SGE(64, groups=16)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, groups: int | None = None) -> None:
        super().__init__()
        groups = math.gcd(channels, 64) if groups is None else groups
        require_divisible(channels, groups=groups)
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, groups, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per group and position."""
        grouped = rearrange(x, "b (g c) h w -> b g c h w", g=self.groups)
        similarity = reduce(grouped * grouped.mean(dim=(3, 4), keepdim=True), "b g c h w -> b g h w", "sum")
        centered = similarity - similarity.mean(dim=(2, 3), keepdim=True)
        degrees = max(x.shape[2] * x.shape[3] - 1, 1)
        # On a constant map a norm has gradient 0, whereas a square root would have nan.
        deviation: Tensor = torch.linalg.vector_norm(centered, dim=(2, 3), keepdim=True) / degrees**0.5
        weights = (self.weight * (centered / (deviation + 1e-5)) + self.bias).sigmoid()
        return rearrange(grouped * weights[:, :, None], "b g c h w -> b (g c) h w")
