"""The attention pyramid: its plain form equals a published decoder, and its blocks start without an effect."""

from functools import partial

import pytest
import torch
from segmentation_models_pytorch.decoders.fpn import decoder as published
from torch import nn

from segattn import attention
from segattn.heads import AttentionPyramid
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


@pytest.mark.parametrize("place", ["context", "refinement"])
@pytest.mark.parametrize("block", [getattr(attention, name) for name in attention.__all__])
@torch.no_grad()
def test_blocks_have_no_effect_at_step_0(block, place):
    make = partial(AttentionPyramid, PYRAMID, CLASSES, channels=64, context_channels=32)
    with_block, published_form = make(**{place: block}).eval(), make(**{place: block}, identity_start=False).eval()
    plain = make().eval()
    plain.load_state_dict({key: with_block.state_dict()[key] for key in plain.state_dict()})
    published_form.load_state_dict({**published_form.state_dict(), **plain.state_dict()})
    features = features_of(PYRAMID, batch=2)
    assert torch.equal(with_block(features).logits, plain(features).logits)
    starts_as_identity = place == "refinement" and getattr(block, "starts_as_identity", False)
    assert torch.equal(published_form(features).logits, plain(features).logits) == starts_as_identity


def test_width_is_checked():
    with pytest.raises(ValueError, match="channels must be a multiple of 64, got 96"):
        AttentionPyramid(PYRAMID, CLASSES, channels=96)
