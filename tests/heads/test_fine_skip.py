"""The optional skip connection of the DANet and FLA heads."""

from functools import partial

import pytest
import torch
from torch import nn

from segattn.heads import DANetHead, FeatureInfo, FLAHead
from tests.heads.test_contract import CLASSES, DILATED, PYRAMID, features_of, randomized

HEADS = [partial(DANetHead, channels=16), partial(FLAHead, channels=16)]


@pytest.mark.parametrize("make", HEADS)
@pytest.mark.parametrize("info", [PYRAMID, DILATED])
@torch.no_grad()
def test_logits_have_the_resolution_of_the_fine_level_and_depend_on_it(make, info):
    head = randomized(make(info, CLASSES, skip_channels=48)).eval()
    features = features_of(info, batch=2)
    logits = head(features).logits
    assert logits.shape == (2, CLASSES, *features[2].shape[-2:])
    features[2] = torch.randn_like(features[2])
    assert not torch.equal(head(features).logits, logits)


@torch.no_grad()
def test_the_skip_equals_plain_steps():
    head = randomized(DANetHead(PYRAMID, CLASSES, channels=16, skip_channels=48)).eval()
    features = features_of(PYRAMID)
    fused = head.position(features[-1]) + head.channel(features[-1])
    enlarged = nn.functional.interpolate(fused, scale_factor=8, mode="bilinear", align_corners=False)
    x = torch.cat([enlarged, head.skip.reduce(features[2])], dim=1)
    assert [layer.kernel_size for layer in head.skip.modules() if isinstance(layer, nn.Conv2d)] == [
        (1, 1),
        (3, 3),
        (3, 3),
    ]
    expected = head.classifiers["fused"](head.skip.fuse[1](head.skip.fuse[0](x)))
    torch.testing.assert_close(head(features).logits, expected)


@pytest.mark.parametrize("make", HEADS)
def test_heads_have_no_skip_by_default(make):
    head = make(PYRAMID, CLASSES)
    assert not [name for name in head.state_dict() if "skip" in name]
    assert head(features_of(PYRAMID)).logits.shape[-2:] != features_of(PYRAMID)[2].shape[-2:]


@pytest.mark.parametrize("make", HEADS)
def test_a_finer_level_is_required(make):
    with pytest.raises(
        ValueError, match=r"skip_channels needs an encoder with a level finer than the last one, got str"
    ):
        make(FeatureInfo((3, 0, 0, 8, 16, 24), (1, 2, 4, 16, 16, 16)), CLASSES, skip_channels=48)
