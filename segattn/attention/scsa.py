"""Spatial and channel synergistic attention, and its two halves.

Si et al.: SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention. Neurocomputing 2025,
https://arxiv.org/abs/2407.05128, equations 1 to 10.

SMSA, shared multi-semantic spatial attention: the means over W and over H are split into groups of channels. Each group
has a depth-wise 1-D convolution with its own kernel size, *shared* by the two directions. Group norm and a gate give
one weight per channel and row, and one per channel and column; both multiply the input.

PCSA, progressive channel self-attention: the map is pooled in windows and normalized. The channels inside each head
attend to each other with depth-wise query, key and value. The mean over positions and a gate give one weight per
channel.

Differences from the paper: none known in the default form. Differences from the released code:

- `recombination` pooling works (there it calls a function that does not exist). The positions of each window become
  channels, and a 1x1 convolution reduces them to C. Pixels beyond the last complete window are left out, as in average
  and max pooling.
- A map smaller than the window does not fail. It is pooled to 1x1 (average and maximum) or padded with zeros
  (recombination).
- A global window pools as `pooling` says; there it always averages.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from segattn.attention.arguments import require_choice, require_divisible, require_odd, require_positive
from segattn.attention.block import AttentionBlock
from segattn.attention.norms import GroupNorm

Gate = Literal["sigmoid", "softmax"]
Pooling = Literal["average", "max", "recombination"]


class SMSA(AttentionBlock):
    """Shared multi-semantic spatial attention: weights rows and columns, with several kernel sizes.

    Args:
        channels: number of input and output channels, divisible by the number of kernel sizes.
        kernel_sizes: odd kernel size for each group of channels.
        gate: ``sigmoid``, or ``softmax`` over the positions of a direction.

    Examples:
        >>> import torch
        >>> from segattn.attention import SMSA
        >>> block = SMSA(64, kernel_sizes=(3, 5))
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(self, channels: int, *, kernel_sizes: Sequence[int] = (3, 5, 7, 9), gate: Gate = "sigmoid") -> None:
        super().__init__()
        require_odd("kernel_sizes", *kernel_sizes)
        groups = len(kernel_sizes)
        require_divisible(channels, number_of_kernel_sizes=groups)
        require_choice(("sigmoid", "softmax"), gate=gate)
        self.gate = gate
        width = channels // groups
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, groups=width) for kernel_size in kernel_sizes
        )
        self.norm_h = GroupNorm(groups, channels)
        self.norm_w = GroupNorm(groups, channels)

    def _weights(self, line: Float[Tensor, "b c n"], norm: nn.Module) -> Float[Tensor, "b c n"]:
        parts = line.chunk(len(self.convs), dim=1)
        mixed: Tensor = norm(torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], dim=1))
        return mixed.sigmoid() if self.gate == "sigmoid" else mixed.softmax(dim=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times the weights of their row and of their column (equation 5)."""
        rows = self._weights(x.mean(dim=3), self.norm_h)
        columns = self._weights(x.mean(dim=2), self.norm_w)
        return x * rows[:, :, :, None] * columns[:, :, None, :]


class PCSA(AttentionBlock):
    """Progressive channel self-attention: weights channels by attention between them.

    Args:
        channels: number of input and output channels, divisible by ``heads``.
        heads: number of attention heads; 1 in the released models.
        window: side of the pooling windows in pixels of the map; None pools the whole map.
        pooling: ``average``, ``max``, or ``recombination`` (positions become channels, then a 1x1 convolution), which
            needs a window.
        gate: ``sigmoid``, or ``softmax`` over the channels.
        qkv_bias: whether query, key and value have a bias.
        dropout: probability of dropping an attention weight in training.

    Examples:
        >>> import torch
        >>> from segattn.attention import PCSA
        >>> block = PCSA(64, heads=4)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 1,
        window: int | None = 7,
        pooling: Pooling = "average",
        gate: Gate = "sigmoid",
        qkv_bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_divisible(channels, heads=heads)
        require_choice(("average", "max", "recombination"), pooling=pooling)
        require_choice(("sigmoid", "softmax"), gate=gate)
        require_positive(window=1 if window is None else window)
        if window is None and pooling == "recombination":
            raise ValueError("pooling recombination needs a window, got window None.")
        self.heads, self.window, self.pooling, self.gate = heads, window, pooling, gate
        if window is not None and pooling == "recombination":
            self.recombine = nn.Conv2d(channels * window**2, channels, kernel_size=1, bias=False)
        self.norm = GroupNorm(1, channels)
        self.query = nn.Conv2d(channels, channels, kernel_size=1, groups=channels, bias=qkv_bias)
        self.key = nn.Conv2d(channels, channels, kernel_size=1, groups=channels, bias=qkv_bias)
        self.value = nn.Conv2d(channels, channels, kernel_size=1, groups=channels, bias=qkv_bias)
        self.dropout = nn.Dropout(dropout)

    def _pool(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _h _w"]:
        if self.window is None:
            return x.mean(dim=(2, 3), keepdim=True) if self.pooling == "average" else x.amax(dim=(2, 3), keepdim=True)
        # Unlike Python's `max`, `torch.sym_max` keeps both cases in an exported graph.
        missing_h, missing_w = (torch.sym_max(0, self.window - side) for side in x.shape[2:])
        missing: list[Any] = [0, missing_w, 0, missing_h]
        if self.pooling == "max":
            return F.max_pool2d(F.pad(x, missing, value=-torch.inf), self.window)
        padded = F.pad(x, missing)
        if self.pooling == "average":
            inside = F.pad(torch.ones_like(x[:1, :1]), missing)
            return F.avg_pool2d(padded, self.window) / F.avg_pool2d(inside, self.window)
        windows_h, windows_w = (side // self.window for side in padded.shape[2:])
        whole = padded[:, :, : windows_h * self.window, : windows_w * self.window]
        recombined: Tensor = self.recombine(F.pixel_unshuffle(whole, self.window))
        return recombined

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per channel (equation 10)."""
        pooled = self.norm(self._pool(x))
        query, key, value = (
            rearrange(conv(pooled), "b (heads c) h w -> b heads c (h w)", heads=self.heads)
            for conv in (self.query, self.key, self.value)
        )
        scale = query.shape[2] ** -0.5
        weights = self.dropout((query @ key.mT * scale).softmax(dim=-1))
        logits = rearrange((weights @ value).mean(dim=-1), "b heads c -> b (heads c) 1 1")
        gates: Tensor = logits.sigmoid() if self.gate == "sigmoid" else logits.softmax(dim=1)
        return x * gates


class SCSA(AttentionBlock):
    """Spatial attention, then channel attention on its output.

    Args:
        channels: number of input and output channels, divisible by ``heads`` and by the number of kernel sizes.
        kernel_sizes: kernel sizes of the spatial half, see ``SMSA``.
        heads: number of heads of the channel half, see ``PCSA``.
        window: pooling window of the channel half; None pools the whole map.
        pooling: pooling of the channel half: ``average``, ``max`` or ``recombination``.
        gate: gate of both halves, ``sigmoid`` or ``softmax``.
        qkv_bias: whether query, key and value of the channel half have a bias.
        dropout: probability of dropping an attention weight of the channel half in training.

    Examples:
        >>> import torch
        >>> from segattn.attention import SCSA
        >>> block = SCSA(64, kernel_sizes=(3, 5), window=None)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_sizes: Sequence[int] = (3, 5, 7, 9),
        heads: int = 1,
        window: int | None = 7,
        pooling: Pooling = "average",
        gate: Gate = "sigmoid",
        qkv_bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.spatial = SMSA(channels, kernel_sizes=kernel_sizes, gate=gate)
        self.channel = PCSA(
            channels, heads=heads, window=window, pooling=pooling, gate=gate, qkv_bias=qkv_bias, dropout=dropout
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features after both halves."""
        refined: Tensor = self.channel(self.spatial(x))
        return refined
