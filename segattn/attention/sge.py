"""Spatial group-wise enhance: each group of channels weights its positions by their likeness to the group's mean.

Li et al.: Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks. 2019,
https://arxiv.org/abs/1905.09646, equations 1 to 4.

    c = (mean over positions) . x (eqs. 1, 2), normalized over positions (eq. 3), x * sigmoid(gamma * c + beta) (eq. 4)

Differences from the paper: equation 3 divides by the standard deviation over n positions, the released code, like
this one, by that over n - 1. Difference from the released code: a map of a single position gives that position the
weight sigmoid(beta) instead of nan. Both take 64 groups; here that is the default where 64 divides the channels.
"""

import math

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import require_divisible, require_positive


def group_likeness(x: Float[Tensor, "b g c h w"], *, eps: float = 1e-5) -> Float[Tensor, "b g h w"]:
    """The inner product of every position with its group's mean, standardized over positions.

    Args:
        x: the features by group.
        eps: added to the standard deviation.

    Returns:
        One value per group and position, of mean 0 and standard deviation 1 over the positions.
    """
    likeness = reduce(x * x.mean(dim=(3, 4), keepdim=True), "b g c h w -> b g h w", "sum")
    centered = likeness - likeness.mean(dim=(2, 3), keepdim=True)
    degrees = max(x.shape[3] * x.shape[4] - 1, 1)
    # A norm has the gradient 0 where a map is constant, a square root would have nan.
    deviation: Tensor = torch.linalg.vector_norm(centered, dim=(2, 3), keepdim=True) / degrees**0.5
    return centered / (deviation + eps)


class SGE(nn.Module):
    """Spatial group-wise enhance.

    Args:
        channels: of input and output, divisible by the number of groups.
        groups: of channels; None takes the largest number up to 64 that divides 64 and the channels.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(self, channels: int, *, groups: int | None = None) -> None:
        super().__init__()
        require_positive(channels=channels)
        groups = math.gcd(channels, 64) if groups is None else groups
        require_divisible(channels, groups=groups)
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(1, groups, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per group and position."""
        grouped = rearrange(x, "b (g c) h w -> b g c h w", g=self.groups)
        weights = (self.weight * group_likeness(grouped) + self.bias).sigmoid()
        return rearrange(grouped * weights[:, :, None], "b g c h w -> b (g c) h w")
