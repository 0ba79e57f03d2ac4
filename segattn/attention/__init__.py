"""Attention blocks, one file per paper. ``Block(channels, ...)`` maps (B, C, H, W) to the same shape.

Arguments out of range raise ValueError. :mod:`segattn.attention.identity_start` makes any of them
start as the identity.
"""

from segattn.attention.bam import BAM
from segattn.attention.cbam import CBAM
from segattn.attention.channel_position import ChannelPositionAttention
from segattn.attention.coordinate import CoordinateAttention
from segattn.attention.cpca import CPCA
from segattn.attention.criss_cross import CrissCrossAttention
from segattn.attention.danet import ChannelAttention, DualAttention, PositionAttention
from segattn.attention.disentangled import DisentangledNonLocal
from segattn.attention.eca import ECA
from segattn.attention.efficient_multi_scale import EfficientMultiScaleAttention
from segattn.attention.ela import ELA
from segattn.attention.expectation_maximization import ExpectationMaximizationAttention
from segattn.attention.fully_attentional import FullyAttentional
from segattn.attention.global_context import GlobalContext
from segattn.attention.interlaced import InterlacedSparseAttention
from segattn.attention.nam import NAM
from segattn.attention.non_local import NonLocal
from segattn.attention.scsa import PCSA, SCSA, SMSA
from segattn.attention.selective_kernel import SelectiveKernel
from segattn.attention.sge import SGE
from segattn.attention.shuffle import ShuffleAttention
from segattn.attention.squeeze_excite import SqueezeExcite

__all__ = [
    "BAM",
    "CBAM",
    "CPCA",
    "ChannelAttention",
    "ChannelPositionAttention",
    "CoordinateAttention",
    "CrissCrossAttention",
    "DisentangledNonLocal",
    "DualAttention",
    "ECA",
    "ELA",
    "EfficientMultiScaleAttention",
    "ExpectationMaximizationAttention",
    "FullyAttentional",
    "GlobalContext",
    "InterlacedSparseAttention",
    "NAM",
    "NonLocal",
    "PCSA",
    "PositionAttention",
    "SCSA",
    "SGE",
    "SMSA",
    "SelectiveKernel",
    "ShuffleAttention",
    "SqueezeExcite",
]
