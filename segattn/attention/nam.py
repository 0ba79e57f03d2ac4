"""Normalization-based attention: the scales of a batch norm show which channels matter.

Liu et al.: NAM: Normalization-based Attention Module. NeurIPS 2021 workshop, https://arxiv.org/abs/2111.12419,
equations 1 and 2.

    output = x * sigmoid(W * BN(x)),  W_i = |gamma_i| / sum_j |gamma_j|

Differences from the paper: no spatial half (equation 3). It is not in the released code either, and its pixel-wise norm
would fix the size of the map. The L1 penalty on gamma (equation 4) belongs to the training loss. As released, W passes
no gradient to gamma; gamma learns through the batch norm.
"""

from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.block import AttentionBlock


class NAM(AttentionBlock):
    """Normalization-based channel attention.

    Examples:
        >>> import torch
        >>> from segattn.attention import NAM
        >>> block = NAM(64)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per element."""
        scales = self.norm.weight.detach().abs()
        logits: Tensor = self.norm(x) * (scales / scales.sum())[:, None, None]
        return x * logits.sigmoid()
