"""Squeeze-and-excitation: one weight per channel from the means of all channels.

Hu et al.: Squeeze-and-Excitation Networks. CVPR 2018, https://arxiv.org/abs/1709.01507, equations 2 to 4.

    z = mean over positions (eq. 2),  s = sigmoid(W2 relu(W1 z)) (eq. 3),  output = s * x (eq. 4)

Differences from the paper: equation 3 and its parameter counts have no biases, which is `bias=False` here. The default
has biases, as in the released models.
"""

from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import bottleneck_width
from segattn.attention.block import AttentionBlock


class SqueezeExcite(AttentionBlock):
    """Squeeze-and-excitation block.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: the bottleneck has ``channels // reduction`` channels.
        bias: whether the two linear layers have biases.

    Examples:
        >>> import torch
        >>> from segattn.attention import SqueezeExcite
        >>> block = SqueezeExcite(64, reduction=4)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = True) -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        self.excite = nn.Sequential(
            nn.Linear(channels, width, bias=bias),
            nn.ReLU(),
            nn.Linear(width, channels, bias=bias),
            nn.Sigmoid(),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per channel."""
        weights: Tensor = self.excite(x.mean(dim=(2, 3)))
        return x * weights[:, :, None, None]
