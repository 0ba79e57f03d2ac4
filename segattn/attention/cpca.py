"""Channel prior convolutional attention: one weight per channel, then one per element from strip convolutions.

Huang et al.: Channel Prior Convolutional Attention for Medical Image Segmentation. Computers in Biology and
Medicine 2024, https://arxiv.org/abs/2306.05196, equations 1 to 4.

    channel (eq. 3):  sigmoid(MLP(mean over positions)) + sigmoid(MLP(maximum over positions))
    spatial (eq. 4):  conv 1x1 of the sum of branches: a depth-wise 5x5 convolution, and depth-wise strips of lengths 7,
                      11 and 21 of its output

Differences from the paper: equation 3 adds before the sigmoid; as in the released code, each pooling has its own
sigmoid. As released, a 1x1 convolution and GELU come first and a 1x1 convolution last, and these two and the one of
equation 4 are *the same* layer.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import bottleneck_width, require_odd
from segattn.attention.block import AttentionBlock


class CPCA(AttentionBlock):
    """Channel prior convolutional attention.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: the bottleneck of the channel gate has ``channels // reduction`` channels.
        strips: odd lengths of the pairs of depth-wise strips (1 x length, then length x 1).

    Examples:
        >>> import torch
        >>> from segattn.attention import CPCA
        >>> block = CPCA(64, strips=(5, 7))
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, reduction: int = 4, strips: Sequence[int] = (7, 11, 21)) -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        require_odd("strips", *strips)
        self.channel = nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(), nn.Conv2d(width, channels, 1))
        self.square = nn.Conv2d(channels, channels, kernel_size=5, padding=2, groups=channels)
        self.strips = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, (1, length), padding=(0, length // 2), groups=channels),
                nn.Conv2d(channels, channels, (length, 1), padding=(length // 2, 0), groups=channels),
            )
            for length in strips
        )
        self.mix = nn.Conv2d(channels, channels, kernel_size=1)
        self.activation = nn.GELU()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features mixed, gated by channel, gated by element, and mixed again."""
        x = self.activation(self.mix(x))
        mean: Tensor = self.channel(x.mean(dim=(2, 3), keepdim=True))
        maximum: Tensor = self.channel(x.amax(dim=(2, 3), keepdim=True))
        x = x * (mean.sigmoid() + maximum.sigmoid())
        branches: Tensor = self.square(x)
        branches = sum((strip(branches) for strip in self.strips), start=branches)
        gated: Tensor = self.mix(x * self.mix(branches))
        return gated
