"""The attention pyramid: its plain form equals a published decoder, and its blocks start without an effect."""

import pytest
import torch
from segmentation_models_pytorch.decoders.fpn import decoder as published
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import nn

from segattn import attention
from segattn.heads import AttentionPyramid, FeatureInfo
from tests.heads.test_contract import CLASSES, PYRAMID, features_of, randomized


@torch.no_grad()
def test_plain_pyramid_equals_the_published_decoder(monkeypatch):
    interpolate = nn.functional.interpolate

    def by_centers(x, scale_factor, mode, **_):
        return interpolate(x, scale_factor=scale_factor, mode=mode, align_corners=False if mode == "bilinear" else None)

    monkeypatch.setattr(published.F, "interpolate", by_centers)  # the decoder aligns corners in its branches
    decoder = published.FPNDecoder(list(PYRAMID.channels), pyramid_channels=256, segmentation_channels=128, dropout=0)
    randomized(decoder)
    head = randomized(AttentionPyramid(PYRAMID, CLASSES)).eval()
    ours, theirs = head.state_dict(), decoder.state_dict()
    for level, name in enumerate(("p2.skip_conv", "p3.skip_conv", "p4.skip_conv", "p5")):
        for kind in ("weight", "bias"):
            ours[f"lateral.{level}.{kind}"] = theirs[f"{name}.{kind}"]
        for step in range(max(1, level)):
            block = f"seg_blocks.{3 - level}.block.{step}.block"
            ours[f"branches.{level}.convs.{step}.0.weight"] = theirs[f"{block}.0.weight"]
            for kind in ("weight", "bias"):
                ours[f"branches.{level}.convs.{step}.1.{kind}"] = theirs[f"{block}.1.{kind}"]
    head.load_state_dict(ours)
    features = features_of(PYRAMID)
    expected = head.classifier(decoder.eval()(features))
    torch.testing.assert_close(head(features).logits, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@torch.no_grad()
def test_plain_upernet_equals_the_published_decoder():
    head = randomized(AttentionPyramid(PYRAMID, CLASSES, topology="upernet", channels=16)).eval()
    decoder = UPerNetDecoder(list(PYRAMID.channels), decoder_channels=16).eval()
    decoder.feature_norms = nn.ModuleList(nn.Identity() for _ in decoder.feature_norms)  # not in the paper
    head.refine[-1] = nn.Identity()  # not in the paper
    laterals = [block.conv_norm_relu for block in decoder.fpn_lateral_blocks]
    ours = [head.top, *reversed(head.lateral), *reversed(head.refine[:-1]), head.fuse]
    for own, other in zip(ours, [decoder.psp, *laterals, *decoder.fpn_conv_blocks, decoder.fusion_block], strict=True):
        other.load_state_dict(dict(zip(other.state_dict(), own.state_dict().values(), strict=True)))
    features = features_of(PYRAMID)
    expected = head.classifier(decoder(list(features)))
    torch.testing.assert_close(head(features).logits, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_size_of_upernet_is_that_of_the_paper_and_one_convolution():
    resnet50 = FeatureInfo((3, 64, 256, 512, 1024, 2048), (1, 2, 4, 8, 16, 32))
    head = AttentionPyramid(resnet50, 150, topology="upernet", channels=512)
    norm, square = 2 * 512, 512 * 512 * 9
    pooling = 4 * (2048 * 512 + norm) + (2048 + 4 * 512) * 512 * 9 + norm
    lateral = (256 + 512 + 1024) * 512 + 3 * norm
    paper = pooling + lateral + 3 * (square + norm) + (4 * square + norm) + 512 * 150 + 150
    assert sum(parameter.numel() for parameter in head.parameters()) == paper + square + norm


@pytest.mark.parametrize("topology", ["fpn", "upernet", "concatenated"])
@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize(("height", "width"), [(32, 64), (96, 32)])
def test_logits_have_the_stride(topology, stride, height, width):
    head = AttentionPyramid(PYRAMID, 1, topology=topology, stride=stride, channels=64)
    features = features_of(PYRAMID, batch=2, height=height, width=width)
    assert head(features).logits.shape == (2, 1, height // stride, width // stride)


def test_levels_of_stride_2_are_required_and_used():
    head = AttentionPyramid(PYRAMID, CLASSES, stride=2, channels=64).eval()
    features = features_of(PYRAMID)
    before = head(features).logits
    features[1] = features[1] + 1
    assert not torch.equal(head(features).logits, before)
    with pytest.raises(
        ValueError, match=r"needs an encoder with a level of stride 2, but its levels have \[4, 8, 16\]"
    ):
        AttentionPyramid(FeatureInfo((3, 0, 8, 16, 24), (1, 2, 4, 8, 16)), CLASSES, stride=2)


@pytest.mark.parametrize("place", ["context", "refinement"])
@pytest.mark.parametrize("topology", ["fpn", "upernet"])
@pytest.mark.parametrize("block", [getattr(attention, name) for name in attention.__all__])
@torch.no_grad()
def test_blocks_have_no_effect_at_step_0(block, topology, place):
    def make(**options):
        torch.manual_seed(0)
        return AttentionPyramid(PYRAMID, CLASSES, topology=topology, channels=64, context_channels=32, **options).eval()

    plain, with_block = make(), make(**{place: block})
    published_form = make(**{place: block}, identity_start=False)
    features = features_of(PYRAMID, batch=2)
    assert torch.equal(with_block(features).logits, plain(features).logits)
    starts_as_identity = place == "refinement" and getattr(block, "starts_as_identity", False)
    assert torch.equal(published_form(features).logits, plain(features).logits) == starts_as_identity


def test_width_is_checked():
    with pytest.raises(ValueError, match="channels must be a multiple of 64, got 96"):
        AttentionPyramid(PYRAMID, CLASSES, channels=96)
