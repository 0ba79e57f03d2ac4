"""Non-local attention: each position gathers from all positions.

Wang et al.: Non-local Neural Networks. CVPR 2018, https://arxiv.org/abs/1711.07971, equations 1, 4 and 6.

With theta, phi and g of the paper as query, key and value at positions i and j:

    z_i = x_i + W sum_j w_ij value_j,  w_i = softmax over j of (query_i . key_j / sqrt(width))

This is the embedded Gaussian version. :class:`segattn.attention.PositionAttention` is the block of DANet, which has a
learned gamma instead of W.

Differences from the paper: the factor 1 / sqrt(width) is from OpenMMLab's code. The features are not subsampled. The
key has no bias, because it would have no effect.
"""

from typing import ClassVar

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import bottleneck_width, require_choice
from segattn.attention.block import AttentionBlock
from segattn.attention.dot_product import Implementation, dot_product_attention


class NonLocal(AttentionBlock):
    """Non-local block; the scale of its batch norm starts at 0.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: query, key and value have ``channels // reduction`` channels.
        implementation: ``plain`` builds the map of (H*W)² pairs, ``fused`` does not; results agree within rounding.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> import torch
        >>> from segattn.attention import NonLocal
        >>> block, x = NonLocal(64), torch.rand(2, 64, 30, 45)
        >>> block(x).shape
        torch.Size([2, 64, 30, 45])
        >>> torch.allclose(block(x), x)  # the scale of its batch norm starts at 0
        True
    """

    starts_as_identity: ClassVar[bool] = True

    def __init__(self, channels: int, *, reduction: int = 2, implementation: Implementation = "fused") -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        require_choice(("fused", "plain"), implementation=implementation)
        self.implementation = implementation
        self.scale = width**-0.5
        self.query = nn.Conv2d(channels, width, kernel_size=1)
        self.key = nn.Conv2d(channels, width, kernel_size=1, bias=False)
        self.value = nn.Conv2d(channels, width, kernel_size=1)
        self.out = Conv2dNormActivation(width, channels, kernel_size=1, activation_layer=None)
        nn.init.zeros_(self.out[1].weight)

    def query_and_key(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """Query and key (b, width, h, w); their inner products are the energies of the pairs."""
        return self.query(x) * self.scale, self.key(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus what each position gathered."""
        parts = (rearrange(part, "b c h w -> b 1 (h w) c") for part in (*self.query_and_key(x), self.value(x)))
        gathered = dot_product_attention(*parts, implementation=self.implementation)
        added: Tensor = self.out(rearrange(gathered, "b 1 (h w) c -> b c h w", h=x.shape[2]))
        return x + added
