"""Every head can be exported, for any batch size, height and width."""

from functools import partial

import pytest
import torch
from torch import nn

from segattn import heads
from segattn.attention import PositionAttention
from segattn.checkpoints import TrainedModel
from segattn.export import SUFFIXES
from segattn.export.agreement import exported_model
from segattn.export.graph import to_program, write_program
from segattn.heads import (
    AttentionPyramid,
    CCHead,
    ChannelSpatialHead,
    DANetHead,
    DNLHead,
    EMANetHead,
    FCNHead,
    FeatureInfo,
    FLAHead,
    GCHead,
    Head,
    HeadOutput,
    ISAHead,
    NLHead,
    OCRHead,
    PSPHead,
    SCSADecoder,
    SMPDecoder,
)
from segattn.inference import InferenceConfig
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from tests.checkpoints.saved import CLASSES

SLIM = {"channels": 16, "stage3_channels": None}
HEADS = {
    "pyramid": partial(AttentionPyramid, stride=2, channels=64, context=PositionAttention, context_channels=16),
    "pyramid of UPerNet": partial(AttentionPyramid, topology="upernet", channels=16),
    "FCN": partial(FCNHead, **SLIM),
    "CCNet": partial(CCHead, **SLIM),
    "DANet": partial(DANetHead, **SLIM),
    "DNL": partial(DNLHead, **SLIM),
    "EMANet": partial(EMANetHead, **SLIM),
    "OCR": partial(OCRHead, channels=16, coarse_channels=8),
    "FLA": partial(FLAHead, channels=16, auxiliary_channels=None, skip_channels=8),
    "ISA": partial(ISAHead, window=(4, 3), **SLIM),
    "GCNet": partial(GCHead, **SLIM),
    "SCSA": partial(SCSADecoder, **SLIM),  # the refinement of every pyramid
    "channel and position": partial(ChannelSpatialHead, kind="dual", **SLIM),
    "non-local": partial(NLHead, **SLIM),
    "PSPNet": partial(PSPHead, **SLIM),
    "PSPNet of the library": partial(SMPDecoder, decoder="pspnet", channels=16),
}
SIZES = [(2, 97, 130), (1, 45, 61), (1, 1, 1), (3, 7, 200), (1, 64, 20)]
"""Batch, height and width: multiples of the stride or not, smaller than the stride, and very flat."""

BOTH_FORMATS = ("DANet", "FLA", "pyramid")
"""Heads that are also written as torch.export files; ONNX files of all heads come from the same program."""


def test_every_head_is_tested():
    assert {head.func for head in HEADS.values()} == {getattr(heads, name) for name in heads.__all__} - {
        Head,
        HeadOutput,
        FeatureInfo,
    }


@pytest.mark.parametrize("name", HEADS)
def test_exported_files_compute_the_same_at_every_size(name, tmp_path):
    torch.manual_seed(0)
    spec = EncoderSpec("tu-test_resnet", None, 32)
    model = SegmentationModel(ModelSpec(len(CLASSES), spec, HEADS[name]))
    for parameter in model.parameters():  # every branch has an effect
        if parameter.ndim < 2:
            nn.init.normal_(parameter, std=0.3)
    trained, program = TrainedModel(model.eval(), CLASSES, InferenceConfig(), "0"), to_program(model)
    images = [torch.rand(batch, 3, height, width) for batch, height, width in SIZES]
    with torch.no_grad():
        expected = [model(image).logits for image in images]
    for format in ("onnx", "torch") if name in BOTH_FORMATS else ("onnx",):
        suffix = SUFFIXES[format]
        write_program(program, trained, tmp_path / f"m{suffix}", format=format)
        network = exported_model(tmp_path / f"m{suffix}")
        for image, logits in zip(images, expected, strict=True):
            torch.testing.assert_close(network(image), logits, rtol=0, atol=1e-4 * float(logits.abs().max()))
