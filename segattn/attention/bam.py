"""Bottleneck attention module: one weight per channel and position from two parallel branches.

Park et al.: BAM: Bottleneck Attention Module. BMVC 2018, https://arxiv.org/abs/1807.06514, equations 1 to 4.

    output = x * (1 + sigmoid(channel branch combined with spatial branch))

Differences from the paper: equation 2 adds the two branches, the released code multiplies them. Both forms are
available; the default is the released one. The paper ends both branches with a batch norm; the released code and this
one do not. Difference from the released code: it pools squares as high as the map and therefore needs square maps; here
the mean is over the whole map.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import bottleneck_width, require_choice
from segattn.attention.block import AttentionBlock
from segattn.attention.norms import PooledBatchNorm


class BAM(AttentionBlock):
    """Channel branch and spatial branch, combined into one weight per element.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: both branches have ``channels // reduction`` channels inside.
        dilation: dilation of the two 3x3 convolutions of the spatial branch.
        combination: ``product`` of the branches as released, or their ``sum`` as in equation 2.

    Examples:
        >>> import torch
        >>> from segattn.attention import BAM
        >>> block = BAM(64, dilation=2)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        dilation: int = 4,
        combination: Literal["product", "sum"] = "product",
    ) -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        require_choice(("product", "sum"), combination=combination)
        self.combination = combination
        self.channel = nn.Sequential(
            nn.Linear(channels, width), PooledBatchNorm(width), nn.ReLU(), nn.Linear(width, channels)
        )
        self.spatial = nn.Sequential(
            Conv2dNormActivation(channels, width, kernel_size=1, bias=True),
            Conv2dNormActivation(width, width, kernel_size=3, dilation=dilation, bias=True),
            Conv2dNormActivation(width, width, kernel_size=3, dilation=dilation, bias=True),
            nn.Conv2d(width, 1, kernel_size=1),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times weights between 1 and 2."""
        channel: Tensor = self.channel(x.mean(dim=(2, 3)))[:, :, None, None]
        spatial: Tensor = self.spatial(x)
        combined = channel * spatial if self.combination == "product" else channel + spatial
        return x * (1 + combined.sigmoid())
