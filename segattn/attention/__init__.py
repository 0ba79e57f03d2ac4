"""Attention blocks, one file per paper: ``Block(channels, ...)`` maps (B, C, H, W) to the same shape."""

from segattn.attention.danet import ChannelAttention, DualAttention, PositionAttention
from segattn.attention.fully_attentional import FullyAttentional
from segattn.attention.non_local import ChannelPositionAttention
from segattn.attention.scsa import PCSA, SCSA, SMSA

__all__ = [
    "ChannelAttention",
    "ChannelPositionAttention",
    "DualAttention",
    "FullyAttentional",
    "PCSA",
    "PositionAttention",
    "SCSA",
    "SMSA",
]
