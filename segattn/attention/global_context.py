"""Global context: one weighted mean over all positions, transformed and added to every position.

Cao et al.: GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond. ICCV Workshops 2019,
https://arxiv.org/abs/1904.11492, figure 4d.

With x the input, i and j positions, W_k the mask convolution and W_v1, W_v2 the two convolutions of the transform:

    z_i = x_i + W_v2 ReLU(LayerNorm(W_v1 sum_j a_j x_j)),  a = softmax over j of (W_k x_j)

Differences from the authors' code: the mask has no bias, which cancels in the softmax. The transform always has this
form (attention pooling and addition; the code also has average pooling and multiplication). The default reduction is 4,
as in the heads of OpenMMLab; the paper uses 16 and 4.
"""

from typing import ClassVar

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import bottleneck_width
from segattn.attention.block import AttentionBlock


def spatial_weights(mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """The softmax over all positions."""
    weights = rearrange(mask, "b 1 h w -> b (h w)").softmax(dim=-1)
    return rearrange(weights, "b (h w) -> b 1 h w", h=mask.shape[2])


def weighted_mean(x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b c 1 1"]:
    """The mean over all positions, weighted by the softmax of the mask."""
    weights = rearrange(spatial_weights(mask), "b 1 h w -> b (h w) 1")
    return rearrange(rearrange(x, "b c h w -> b c (h w)") @ weights, "b c 1 -> b c 1 1")


class GlobalContext(AttentionBlock):
    """Global context block; the last convolution of its transform starts at 0.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: the transform has ``channels // reduction`` channels.

    Examples:
        >>> import torch
        >>> from segattn.attention import GlobalContext
        >>> block, x = GlobalContext(64), torch.rand(2, 64, 30, 45)
        >>> block(x).shape
        torch.Size([2, 64, 30, 45])
        >>> torch.allclose(block(x), x)  # its last convolution starts at 0
        True
    """

    starts_as_identity: ClassVar[bool] = True

    def __init__(self, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        self.mask = nn.Conv2d(channels, 1, kernel_size=1, bias=False)
        last = nn.Conv2d(width, channels, kernel_size=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # it has a bias
        self.transform = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=1), nn.LayerNorm([width, 1, 1]), nn.ReLU(inplace=True), last
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus the transformed context, the same at every position."""
        added: Tensor = self.transform(weighted_mean(x, self.mask(x)))
        return x + added
