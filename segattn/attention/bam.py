"""Bottleneck attention module: one weight per channel and position from two branches side by side.

Park et al.: BAM: Bottleneck Attention Module. BMVC 2018, https://arxiv.org/abs/1807.06514, equations 1 to 4.

    output = x * (1 + sigmoid(channel branch combined with spatial branch))

Differences from the paper: equation 2 adds the two branches, the released code multiplies them; both forms are here,
the released one is the default. The paper ends both branches in a batch norm, the released code, like this one, does
not. Difference from the released code: it pools squares of the map's height, so that it takes square maps only; here
the whole map is averaged.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import require_choice, require_positive, require_reduction
from segattn.attention.norms import PooledBatchNorm


class BAM(nn.Module):
    """Channel branch and spatial branch, combined into one weight for every element.

    Args:
        channels: of input and output, at least ``reduction``.
        reduction: both branches have channels // reduction channels inside.
        dilation: of the spatial branch's two 3x3 convolutions.
        combination: ``product`` of the branches as released, or their ``sum`` as in equation 2.

    Raises:
        ValueError: if an argument is outside its range.
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
        width = require_reduction(channels, reduction=reduction)
        require_positive(dilation=dilation)
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
        """The features times a weight between 1 and 2."""
        channel: Tensor = self.channel(x.mean(dim=(2, 3)))[:, :, None, None]
        spatial: Tensor = self.spatial(x)
        combined = channel * spatial if self.combination == "product" else channel + spatial
        return x * (1 + combined.sigmoid())
