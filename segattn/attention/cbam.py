"""Convolutional block attention module: one weight per channel, then one weight per position.

Woo et al.: CBAM: Convolutional Block Attention Module. ECCV 2018, https://arxiv.org/abs/1807.06521, equations 1 to 3.

    channel (eq. 2):  sigmoid(MLP(mean over positions) + MLP(maximum over positions))
    spatial (eq. 3):  sigmoid(conv 7x7 of [maximum over channels; mean over channels])

Differences from the paper: as in the released code, the linear layers have biases, a batch norm follows the 7x7
convolution, and the maximum comes before the mean in its input.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import bottleneck_width, require_odd
from segattn.attention.block import AttentionBlock


class CBAM(AttentionBlock):
    """Channel gate, then spatial gate.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: the bottleneck of the channel gate has ``channels // reduction`` channels.
        kernel_size: kernel size of the convolution of the spatial gate, odd.

    Examples:
        >>> import torch
        >>> from segattn.attention import CBAM
        >>> block = CBAM(64, reduction=8)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        require_odd("kernel_size", kernel_size)
        self.channel = nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, channels))
        self.spatial = nn.Sequential(
            nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False),
            nn.BatchNorm2d(1, momentum=0.01),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per channel, then times one weight per position."""
        channel: Tensor = self.channel(x.mean(dim=(2, 3))) + self.channel(x.amax(dim=(2, 3)))
        x = x * channel.sigmoid()[:, :, None, None]
        spatial: Tensor = self.spatial(torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1))
        return x * spatial.sigmoid()
