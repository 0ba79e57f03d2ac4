"""Disentangled non-local attention: pairs of positions without their mean, and one weighted mean for all positions.

Yin et al.: Disentangled Non-Local Neural Networks. ECCV 2020, https://arxiv.org/abs/2006.06668, section 4.

With q, k, v the query, key and value at positions i and j, their means over all positions, and m the mask:

    z_i = x_i + W (sum_j p_ij v_j + sum_j u_j v_j)
    p_i = softmax over j of ((q_i - mean q) . (k_j - mean k) / (temperature * sqrt(width))),  u = softmax over j of m_j

Differences from the paper: the temperature and the batch norm after W are from OpenMMLab's code. Query, key and mask
have no biases, because these would have no effect.
"""

from typing import ClassVar

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import bottleneck_width, require_choice
from segattn.attention.block import AttentionBlock
from segattn.attention.dot_product import Implementation, dot_product_attention
from segattn.attention.global_context import weighted_mean


class DisentangledNonLocal(AttentionBlock):
    """Disentangled non-local block; the scale of its batch norm starts at 0.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: query, key and value have ``channels // reduction`` channels.
        temperature: divides the energies of the pairs; above 0.
        implementation: ``plain`` builds the map of (H*W)² pairs, ``fused`` does not; results agree within rounding.

    Raises:
        ValueError: if an argument is out of its range.

    Examples:
        >>> import torch
        >>> from segattn.attention import DisentangledNonLocal
        >>> block, x = DisentangledNonLocal(64), torch.rand(2, 64, 30, 45)
        >>> block(x).shape
        torch.Size([2, 64, 30, 45])
        >>> torch.allclose(block(x), x)  # the scale of its batch norm starts at 0
        True
    """

    starts_as_identity: ClassVar[bool] = True

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        temperature: float = 0.05,
        implementation: Implementation = "fused",
    ) -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        require_choice(("fused", "plain"), implementation=implementation)
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.implementation = implementation
        self.scale = 1 / (temperature * width**0.5)
        self.query = nn.Conv2d(channels, width, kernel_size=1, bias=False)
        self.key = nn.Conv2d(channels, width, kernel_size=1, bias=False)
        self.value = nn.Conv2d(channels, width, kernel_size=1)
        self.mask = nn.Conv2d(channels, 1, kernel_size=1, bias=False)
        self.out = Conv2dNormActivation(width, channels, kernel_size=1, activation_layer=None)
        nn.init.zeros_(self.out[1].weight)

    def query_and_key(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
        """Query and key (b, width, h, w) without their means; their inner products are the energies of the pairs."""
        query, key = (part - part.mean(dim=(2, 3), keepdim=True) for part in (self.query(x), self.key(x)))
        return query * self.scale, key

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus what each position gathered, and the same weighted mean at every position."""
        value = self.value(x)
        parts = (rearrange(part, "b c h w -> b 1 (h w) c") for part in (*self.query_and_key(x), value))
        pairs = dot_product_attention(*parts, implementation=self.implementation)
        gathered = rearrange(pairs, "b 1 (h w) c -> b c h w", h=x.shape[2]) + weighted_mean(value, self.mask(x))
        added: Tensor = self.out(gathered)
        return x + added
