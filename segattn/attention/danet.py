"""Position attention, channel attention, and both in parallel.

Fu et al.: Dual Attention Network for Scene Segmentation. CVPR 2019, https://arxiv.org/abs/1809.02983,
equations 1 to 4.

With A the input (C, N), N = H*W, and B, C, D the query, key and value convolutions of the paper:

    position (eqs. 1, 2):  S = softmax over i of (B_j . C_i),  E_j = gamma * sum_i S_ji D_i + A_j
    channel (eqs. 3, 4):   X = softmax over i of (A_j . A_i),  E_j = gamma * sum_i X_ji A_i + A_j

Differences from the paper: equation 3 takes the softmax of the energies. The released code takes the softmax of
(row maximum - energy), which mixes channels that are *unlike* each other. Both forms are available; the default is the
released one. Query and key have C/8 channels, as released; the text of the paper says C.
"""

from typing import ClassVar, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import bottleneck_width, require_choice
from segattn.attention.block import AttentionBlock
from segattn.attention.dot_product import Implementation, dot_product_attention, is_autocast

Softmax = Literal["released", "formula"]


class PositionAttention(AttentionBlock):
    """Position attention: each position gathers from all positions whose key matches its query.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: query and key have ``channels // reduction`` channels.
        implementation: ``plain`` builds the map of (H*W)² pairs, ``fused`` does not; results agree within rounding.

    Examples:
        >>> import torch
        >>> from segattn.attention import PositionAttention
        >>> block, x = PositionAttention(64), torch.rand(2, 64, 30, 45)
        >>> block(x).shape
        torch.Size([2, 64, 30, 45])
        >>> torch.allclose(block(x), x)  # gamma starts at 0
        True
    """

    starts_as_identity: ClassVar[bool] = True

    def __init__(self, channels: int, *, reduction: int = 8, implementation: Implementation = "fused") -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        require_choice(("fused", "plain"), implementation=implementation)
        self.implementation = implementation
        self.query = nn.Conv2d(channels, width, kernel_size=1)
        self.key = nn.Conv2d(channels, width, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus gamma times what each position gathered; gamma starts at 0."""
        query, key, value = (
            rearrange(conv(x), "b c h w -> b 1 (h w) c") for conv in (self.query, self.key, self.value)
        )
        attended = dot_product_attention(query, key, value, implementation=self.implementation)
        return torch.addcmul(x, self.gamma, rearrange(attended, "b 1 (h w) c -> b c h w", h=x.shape[2]))


class ChannelAttention(AttentionBlock):
    """Channel attention: each channel gathers from all channels, weighted by their inner products.

    Args:
        channels: number of input and output channels. The only parameter is gamma, so the number has no effect.
        softmax: ``released`` takes the softmax of (row maximum - energy), ``formula`` that of the energy.

    Examples:
        >>> import torch
        >>> from segattn.attention import ChannelAttention
        >>> block, x = ChannelAttention(64), torch.rand(2, 64, 30, 45)
        >>> block(x).shape
        torch.Size([2, 64, 30, 45])
        >>> torch.allclose(block(x), x)  # gamma starts at 0
        True
    """

    starts_as_identity: ClassVar[bool] = True

    def __init__(self, channels: int, *, softmax: Softmax = "released") -> None:
        super().__init__()
        require_choice(("released", "formula"), softmax=softmax)
        self.softmax = softmax
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus gamma times what each channel gathered; gamma starts at 0."""
        channels = rearrange(x, "b c h w -> b c (h w)")
        energy = _inner_products(channels)
        # The row maximum of the released code cancels in the softmax, and torch's softmax subtracts it anyway.
        weights = (-energy if self.softmax == "released" else energy).softmax(dim=-1).to(x.dtype)
        return torch.addcmul(x, self.gamma, rearrange(weights @ channels, "b c (h w) -> b c h w", h=x.shape[2]))


def _inner_products(channels: Float[Tensor, "b c n"]) -> Float[Tensor, "b c c"]:
    """The inner products of all pairs of channels, at least in single precision.

    They are sums over all positions, often in the thousands, where numbers of 16 bits are up to 8 apart.
    """
    precise = channels.to(torch.promote_types(channels.dtype, torch.float32))
    if not is_autocast(channels):
        return precise @ precise.mT
    with torch.autocast(channels.device.type, enabled=False):
        return precise @ precise.mT


class DualAttention(AttentionBlock):
    """The sum of position and channel attention on the same features.

    The convolutions of the paper before and after each branch are in ``segattn.heads.DANetHead``.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: query and key of the position attention have ``channels // reduction`` channels.
        softmax: softmax of the channel attention, see ``ChannelAttention``.
        implementation: implementation of the position attention, see ``PositionAttention``.

    Examples:
        >>> import torch
        >>> from segattn.attention import DualAttention
        >>> block, x = DualAttention(64), torch.rand(2, 64, 30, 45)
        >>> block(x).shape
        torch.Size([2, 64, 30, 45])
        >>> torch.allclose(block(x), 2 * x)  # both gammas start at 0
        True
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 8,
        softmax: Softmax = "released",
        implementation: Implementation = "fused",
    ) -> None:
        super().__init__()
        self.position = PositionAttention(channels, reduction=reduction, implementation=implementation)
        self.channel = ChannelAttention(channels, softmax=softmax)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The sum of both. As in the paper each has its own residual, so the output starts as twice the input."""
        fused: Tensor = self.position(x) + self.channel(x)
        return fused
