"""Heads: features of an encoder -> logits. A new head is a file and a line here."""

from segattn.heads.base import Head, HeadOutput
from segattn.heads.channel_spatial import ChannelSpatialHead
from segattn.heads.danet import DANetHead
from segattn.heads.fcn import FCNHead
from segattn.heads.fla import FLAHead
from segattn.heads.scsa import SCSADecoder
from segattn.heads.smp_decoder import SMPDecoder

__all__ = [
    "ChannelSpatialHead",
    "DANetHead",
    "FCNHead",
    "FLAHead",
    "Head",
    "HeadOutput",
    "SCSADecoder",
    "SMPDecoder",
]
