"""The base class of the attention blocks."""

from collections.abc import Callable

from torch import nn


class AttentionBlock(nn.Module):
    """A block of this package: (B, C, H, W) to the same shape, made from the number of channels C."""


BlockFactory = Callable[[int], AttentionBlock] | Callable[[int], nn.Module]
"""Makes a block from its number of channels. The blocks of this package come first: a config that names a
``ChannelAttention`` means ours, although timm has one too."""
