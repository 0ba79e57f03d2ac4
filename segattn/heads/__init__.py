"""Heads: features of an encoder -> logits. A new head is one file and one line here."""

from segattn.heads.attention_fcn import CCHead, DNLHead, GCHead, NLHead
from segattn.heads.attention_pyramid import AttentionPyramid
from segattn.heads.base import FeatureInfo, Head, HeadOutput
from segattn.heads.channel_spatial import ChannelSpatialHead
from segattn.heads.danet_head import DANetHead
from segattn.heads.emanet_head import EMANetHead
from segattn.heads.fcn_head import FCNHead
from segattn.heads.fla_head import FLAHead
from segattn.heads.isa_head import ISAHead
from segattn.heads.ocr_head import OCRHead
from segattn.heads.psp_head import PSPHead
from segattn.heads.scsa_decoder import SCSADecoder
from segattn.heads.smp_decoder import SMPDecoder

__all__ = [
    "AttentionPyramid",
    "CCHead",
    "ChannelSpatialHead",
    "DANetHead",
    "DNLHead",
    "EMANetHead",
    "FCNHead",
    "FeatureInfo",
    "FLAHead",
    "GCHead",
    "Head",
    "HeadOutput",
    "ISAHead",
    "NLHead",
    "OCRHead",
    "PSPHead",
    "SCSADecoder",
    "SMPDecoder",
]
