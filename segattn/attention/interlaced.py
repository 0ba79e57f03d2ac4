"""Interlaced sparse self-attention: attention between distant positions, then between neighboring ones.

Huang et al.: Interlaced Sparse Self-Attention for Semantic Segmentation. 2019, https://arxiv.org/abs/1907.12273,
section 3.

The map is divided into windows of P positions, of which there are Q. The affinity matrix of all pairs of positions is
the product of two sparse ones:

    long-range:   A_L = softmax(Q_L K_Lᵀ / sqrt(d)) among the Q positions with the same place in their window
    short-range:  A_S = softmax(Q_S K_Sᵀ / sqrt(d)) among the P positions of a window
    Y = out(A_L value(X)),  Z = out'(A_S value'(Y))

so that each position gathers from all positions. Query and key are two 1x1 conv-BN-ReLU, the value is a 1x1
convolution, and out is a 1x1 conv-BN-ReLU.

Differences from the paper: none known. As in the released code and in OpenMMLab's, a map that is not divisible into
windows is padded on all sides with zeros, which take part in the attention.
"""

from collections.abc import Mapping, Sequence

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import bottleneck_width, require_choice
from segattn.attention.block import AttentionBlock
from segattn.attention.dot_product import Implementation, dot_product_attention

LONG_RANGE = "b (p q) (m n) c"
"""Groups of the long-range attention; (p, q) is the place in a window, (m, n) numbers the windows."""

SHORT_RANGE = "b (m n) (p q) c"


def projection(channels: int, width: int) -> nn.Sequential:
    """Two 1x1 conv-BN-ReLU, for query or key."""
    return nn.Sequential(
        Conv2dNormActivation(channels, width, kernel_size=1), Conv2dNormActivation(width, width, kernel_size=1)
    )


class GroupedAttention(nn.Module):
    """Self-attention inside groups of positions, and a closing 1x1 conv-BN-ReLU.

    Args:
        channels: number of input and output channels.
        width: channels of query and key.
        groups: :data:`LONG_RANGE` or :data:`SHORT_RANGE`.
        implementation: see :class:`InterlacedSparseAttention`.
    """

    def __init__(self, channels: int, width: int, *, groups: str, implementation: Implementation) -> None:
        super().__init__()
        self.groups = groups
        self.implementation = implementation
        self.scale = width**-0.5
        self.query = projection(channels, width)
        self.key = projection(channels, width)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.out = Conv2dNormActivation(channels, channels, kernel_size=1)

    def forward(self, x: Float[Tensor, "b c h w"], sides: Mapping[str, int]) -> Float[Tensor, "b c h w"]:
        """What each position gathered from its group; ``sides`` are the lengths of the axes m, p, n and q."""
        query, key, value = (
            rearrange(part, f"b c (m p) (n q) -> {self.groups}", **sides)
            for part in (self.query(x) * self.scale, self.key(x), self.value(x))
        )
        attended = dot_product_attention(query, key, value, implementation=self.implementation)
        refined: Tensor = self.out(rearrange(attended, f"{self.groups} -> b c (m p) (n q)", **sides))
        return refined


class InterlacedSparseAttention(AttentionBlock):
    """Long-range attention, then short-range attention; without a residual, which is in ``segattn.heads.ISAHead``.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: query and key have ``channels // reduction`` channels.
        window: height and width of a window, in positions.
        implementation: ``plain`` builds the maps of all groups at once, ``fused`` does not; results agree within
            rounding.

    Examples:
        >>> import torch
        >>> from segattn.attention import InterlacedSparseAttention
        >>> block = InterlacedSparseAttention(64, window=(4, 5))
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        window: Sequence[int] = (8, 8),
        implementation: Implementation = "fused",
    ) -> None:
        super().__init__()
        width = bottleneck_width(channels, reduction)
        require_choice(("fused", "plain"), implementation=implementation)
        if len(window) != 2 or min(window) < 1:
            raise ValueError(f"window must be a height and a width of at least 1, got {window}.")
        self.window = (window[0], window[1])
        self.long_range = GroupedAttention(channels, width, groups=LONG_RANGE, implementation=implementation)
        self.short_range = GroupedAttention(channels, width, groups=SHORT_RANGE, implementation=implementation)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """What each position gathered from all positions."""
        sides, margins = self.windows(x)
        gathered = self.short_range(self.long_range(F.pad(x, margins), sides), sides)
        return F.pad(gathered, [-margin for margin in margins])

    def windows(self, x: Float[Tensor, "b c h w"]) -> tuple[dict[str, int], list[int]]:
        """Number and sides of the windows: the lengths of the axes m, p, n and q; and the margins to add.

        The margins are columns on the left and right, and rows above and below.
        """
        (height, width), (p, q) = x.shape[2:], self.window
        m, n = (height + p - 1) // p, (width + q - 1) // q
        rows, columns = m * p - height, n * q - width
        margins = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
        return {"m": m, "p": p, "n": n, "q": q}, margins
