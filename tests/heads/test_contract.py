"""Contract of all heads, tested over the exported list."""

from functools import partial

import pytest
import torch
from torch import nn

from segattn import heads
from segattn.attention import SCSA, FullyAttentional
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
    ISAHead,
    NLHead,
    OCRHead,
    PSPHead,
    SCSADecoder,
    SMPDecoder,
)
from segattn.models.factories import build_factory, describe_factory

PYRAMID = FeatureInfo((3, 8, 16, 24, 32, 40), (1, 2, 4, 8, 16, 32))
DILATED = FeatureInfo((3, 8, 16, 24, 32, 40), (1, 2, 4, 8, 8, 8))
CLASSES = 5

VARIANTS = [
    (partial(FCNHead, channels=16, stage3_channels=8), DILATED),
    (partial(FCNHead, channels=16, convs=1, stage3_channels=None), PYRAMID),
    (partial(DANetHead, channels=16, stage3_channels=8), DILATED),
    (partial(DANetHead, softmax="formula", implementation="plain", channels=16, stage3_channels=None), DILATED),
    (partial(DANetHead, channels=16, skip_channels=6, stage3_channels=None), PYRAMID),
    (partial(FLAHead, channels=16, auxiliary_channels=8), DILATED),
    (partial(FLAHead, channels=16, auxiliary_channels=8, skip_channels=48), DILATED),
    (partial(FLAHead, channels=16, upsample=1, implementation="plain", auxiliary_channels=None), PYRAMID),
    (partial(FLAHead, channels=16, upsample_mode="nearest", upsample_auxiliary=True), PYRAMID),
    (partial(CCHead, channels=16, stage3_channels=8), DILATED),
    (partial(CCHead, channels=16, recurrence=3, implementation="plain", stage3_channels=None), PYRAMID),
    (partial(ISAHead, channels=16, window=[2, 3], stage3_channels=8), DILATED),
    (partial(ISAHead, channels=16, window=(1, 2), implementation="plain", stage3_channels=None), PYRAMID),
    (partial(DNLHead, channels=16, stage3_channels=8), DILATED),
    (partial(DNLHead, channels=16, temperature=1.0, implementation="plain", stage3_channels=None), PYRAMID),
    (partial(NLHead, channels=16, stage3_channels=8), DILATED),
    (partial(NLHead, channels=16, reduction=4, implementation="plain", stage3_channels=None), PYRAMID),
    (partial(PSPHead, channels=16, stage3_channels=8), DILATED),
    (partial(PSPHead, channels=16, bins=[1, 4], align_corners=True, stage3_channels=None), PYRAMID),
    (partial(GCHead, channels=16, stage3_channels=8), DILATED),
    (partial(GCHead, channels=16, reduction=2, stage3_channels=None), PYRAMID),
    (partial(EMANetHead, channels=16, attention_channels=24, bases=5, iterations=2, stage3_channels=8), DILATED),
    (partial(EMANetHead, channels=16, momentum=0.5, stage3_channels=None), PYRAMID),
    (partial(OCRHead, channels=16, attention_channels=12, coarse_channels=8), DILATED),
    (partial(OCRHead, channels=16), PYRAMID),
    (partial(AttentionPyramid, channels=64), PYRAMID),
    (partial(AttentionPyramid, channels=64, context=FullyAttentional, context_channels=8, stage3_channels=8), DILATED),
    (partial(AttentionPyramid, channels=64, refinement=SCSA, identity_start=False), PYRAMID),
    (partial(AttentionPyramid, topology="upernet", channels=16, refinement=SCSA, stage3_channels=8), PYRAMID),
    (partial(AttentionPyramid, topology="concatenated", channels=16, stride=2), DILATED),
    (partial(AttentionPyramid, channels=64, stride=2, context=FullyAttentional, context_channels=8), PYRAMID),
    (partial(SCSADecoder, channels=16, stage3_channels=8), PYRAMID),
    (partial(SCSADecoder, topology="upernet", channels=16, stage3_channels=None), DILATED),
    *((partial(ChannelSpatialHead, kind=kind, channels=16), DILATED) for kind in ("position", "channel", "dual")),
    (partial(ChannelSpatialHead, kind="channel_position", channels=16, stage3_channels=None), PYRAMID),
    *((partial(SMPDecoder, decoder=name, channels=64), PYRAMID) for name in ("fpn", "unetplusplus", "unet", "upernet")),
    *((partial(SMPDecoder, decoder=name, channels=64), DILATED) for name in ("deeplabv3plus", "pspnet", "segformer")),
]


def variant_name(value):
    return f"{value.func.__name__}-{'-'.join(map(str, value.keywords.values()))}" if isinstance(value, partial) else ""


def features_of(info, *, batch=3, height=64, width=96):
    shapes = [
        (batch, channels, height // stride, width // stride)
        for channels, stride in zip(info.channels, info.strides, strict=True)
    ]
    return [torch.randn(shape) for shape in shapes]


def randomized(head):
    """Random weights, because the gates of attention start at zero."""
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.2)
    return head


every_head = pytest.mark.parametrize(("factory", "info"), VARIANTS, ids=variant_name)


def test_every_exported_head_has_a_variant():
    exported = {getattr(heads, name) for name in heads.__all__} - {Head, FeatureInfo, heads.HeadOutput}
    assert exported == {factory.func for factory, _ in VARIANTS}


@every_head
def test_logits_and_auxiliary_outputs(factory, info):
    head = factory(info, CLASSES)
    output = head(features_of(info))
    assert set(output.auxiliary) == set(head.auxiliary_names)
    for logits in (output.logits, *output.auxiliary.values()):
        assert logits.shape[:2] == (3, CLASSES)
        assert logits.shape[2] * 96 == logits.shape[3] * 64
    assert head.eval()(features_of(info)).auxiliary == {}


@every_head
def test_gradients_reach_all_parameters(factory, info):
    head = randomized(factory(info, CLASSES))
    output = head(features_of(info))
    torch.stack([logits.square().mean() for logits in (output.logits, *output.auxiliary.values())]).sum().backward()
    trained = [(name, parameter) for name, parameter in head.named_parameters() if parameter.requires_grad]
    silent = [name for name, parameter in trained if parameter.grad is None or not parameter.grad.any()]
    assert not silent


@every_head
@torch.no_grad()
def test_batch_invariance(factory, info):
    head = randomized(factory(info, CLASSES)).eval()
    features = features_of(info)
    together = head(features).logits
    alone = torch.cat([head([feature[i : i + 1] for feature in features]).logits for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6 * float(together.abs().max()))


@every_head
@torch.no_grad()
def test_description_round_trip(factory, info):
    head = randomized(factory(info, CLASSES)).eval()
    again = build_factory(describe_factory(factory))(info, CLASSES).eval()
    again.load_state_dict(head.state_dict())
    features = features_of(info, batch=1)
    torch.testing.assert_close(head(features).logits, again(features).logits)


@every_head
def test_autocast(factory, info):
    head = factory(info, CLASSES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(features_of(info)).logits
    assert logits.isfinite().all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (partial(FCNHead, convs=0), "at least one convolution"),
        (partial(PSPHead, bins=()), "bins must be at least one positive number"),
        (partial(PSPHead, bins=(1, 0)), "bins must be at least one positive number"),
        (partial(FLAHead, upsample=0), "upsample must be at least 1"),
        (partial(FLAHead, upsample_mode="bicubic"), "upsample_mode must be one of bilinear, nearest"),
        (partial(ChannelSpatialHead, kind="position", softmax="formula"), "no effect for kind position"),
        (partial(ChannelSpatialHead, kind="channel", implementation="plain"), "no effect for kind channel"),
        (partial(SMPDecoder, decoder="fpn"), "needs output stride 32, got 8"),
    ],
)
def test_invalid_arguments(make, what):
    with pytest.raises(ValueError, match=what):
        make(DILATED, CLASSES)


@pytest.mark.parametrize("head", [FLAHead, AttentionPyramid, SCSADecoder, partial(SMPDecoder, decoder="unet")])
def test_too_few_encoder_levels(head):
    with pytest.raises(ValueError, match="levels of features, got 2"):
        head(FeatureInfo((3, 0, 8, 16), (1, 2, 4, 8)), CLASSES)
