from functools import partial

import pytest
import torch
from einops import rearrange

from segattn.attention import SCSA
from segattn.blueprint import build, describe
from segattn.encoders import EncoderSpec
from segattn.heads import DANetHead, FCNHead
from segattn.model import SegmentationModel, predicted_classes
from segattn.sample import SizeRule

TINY = EncoderSpec("tu-test_resnet", None, 8)


SMALL_HEAD = partial(FCNHead, channels=8, stage3_channels=8)


def tiny_model(head=SMALL_HEAD, **options):
    torch.manual_seed(1)
    return SegmentationModel(4, TINY, head, **options).eval()


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 50), (64, 48)])
def test_logits_have_the_size_of_the_image(size):
    model = tiny_model()
    assert model(torch.rand(2, 3, *size)).logits.shape == (2, 4, *size)
    auxiliary = model.train()(torch.rand(2, 3, *size)).auxiliary
    assert {name: tuple(logits.shape) for name, logits in auxiliary.items()} == {"stage3": (2, 4, *size)}


def test_padding_shifts_nothing():
    model = tiny_model()
    image = torch.rand(1, 3, 128, 160)
    whole, cut = model(image).logits, model(image[..., :123, :157]).logits
    torch.testing.assert_close(cut[..., :40, :40], whole[..., :40, :40])


def test_the_attention_sits_on_the_last_level():
    seen = []
    model = tiny_model(attention=partial(SCSA, window=2))
    model.attention.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape)))
    model(torch.rand(1, 3, 32, 40))
    assert seen == [(1, model.encoder.info.channels[-1], 4, 5)]


def test_a_blueprint_rebuilds_the_model():
    model = tiny_model(partial(DANetHead, channels=16), attention=partial(SCSA, window=2))
    again = SegmentationModel.from_blueprint(model.blueprint).eval()
    again.load_state_dict(model.state_dict())
    image = torch.rand(1, 3, 32, 40)
    assert torch.equal(model(image).logits, again(image).logits)


def test_logits_come_at_the_size_that_is_asked_for():
    logits = tiny_model().predict_logits(torch.rand(2, 3, 30, 40), rule=SizeRule(), size=(61, 79))
    assert logits.shape == (2, 4, 61, 79)
    assert predicted_classes(logits).shape == (2, 61, 79)


def test_windows_are_blended_where_they_overlap():
    model = tiny_model()
    image = torch.rand(1, 3, 40, 24)
    rule = SizeRule(window=(24, 24), stride=(16, 16))
    logits = model.predict_logits(image, rule=rule, size=(40, 24))
    upper, lower = model(image[..., :24, :]).logits, model(image[..., 16:, :]).logits
    weight = rearrange(torch.arange(1, 9) / 9, "h -> h 1")
    torch.testing.assert_close(logits[..., :16, :], upper[..., :16, :])
    torch.testing.assert_close(logits[..., 16:24, :], upper[..., 16:, :] * weight.flip(0) + lower[..., :8, :] * weight)
    torch.testing.assert_close(logits[..., 24:, :], lower[..., 8:, :])


def test_one_window_is_the_whole_image():
    model = tiny_model()
    image = torch.rand(1, 3, 20, 30)
    windowed = model.predict_logits(image, rule=SizeRule(window=(64, 64), stride=(32, 32)), size=(20, 30))
    torch.testing.assert_close(windowed, model(image).logits)


def test_descriptions_are_plain_data_and_trusted_only_within_segattn():
    described = describe(partial(DANetHead, channels=16))
    assert described == {"class_path": "segattn.heads.danet.DANetHead", "init_args": {"channels": 16}}
    with pytest.raises(ValueError, match="import antigravity first"):
        build({"class_path": "antigravity.Head", "init_args": {}})
    with pytest.raises(ValueError, match=r"has no segattn\.heads\.NoHead"):
        build({"class_path": "segattn.heads.NoHead", "init_args": {}})
    with pytest.raises(ValueError, match="no torch module"):
        build({"class_path": "segattn.checkpoints.load_model", "init_args": {}})
    with pytest.raises(ValueError, match=r"a class or a functools\.partial"):
        describe(lambda channels: None)
