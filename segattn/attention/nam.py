"""Normalization-based attention: a batch norm's own scales say which channels matter.

Liu et al.: NAM: Normalization-based Attention Module. NeurIPS 2021 workshop, https://arxiv.org/abs/2111.12419,
equations 1 and 2.

    output = x * sigmoid(W * BN(x)),  W_i = |gamma_i| / sum_j |gamma_j|

Differences from the paper: the spatial half (equation 3) is not in the released code, whose pixel-wise norm would fix
the size of the map, and not here. The L1 penalty on gamma in the training loss (equation 4) is the task's, not the
block's. As released, W passes no gradient to gamma; gamma learns through the batch norm.
"""

from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import require_positive


class NAM(nn.Module):
    """Normalization-based channel attention.

    Args:
        channels: of input and output.

    Raises:
        ValueError: if the number of channels is not positive.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        require_positive(channels=channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per element."""
        scales = self.norm.weight.detach().abs()
        logits: Tensor = self.norm(x) * (scales / scales.sum())[:, None, None]
        return x * logits.sigmoid()
