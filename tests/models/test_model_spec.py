"""ModelSpec as plain data: all fields are restored, and modules that are not trusted are not imported."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn

from segattn.attention import SCSA, SqueezeExcite
from segattn.heads import DANetHead, FCNHead
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from segattn.models.factories import build_factory, describe_factory, plain_factory

TINY = EncoderSpec("tu-test_resnet", None, 8)


def through_json(spec):
    """The spec as it is restored from a checkpoint."""
    return type(spec).from_dict(json.loads(json.dumps(spec.to_dict())))


def test_plain_data_rebuilds_the_same_model():
    spec = ModelSpec(
        num_classes=4,
        encoder=EncoderSpec("tu-test_resnet", None, 8, dilations={"layer4": [2]}),
        head=partial(DANetHead, channels=16),
        attention=partial(SCSA, window=2),
        attention_levels=[2, -1],
        residual_attention=SqueezeExcite,
        residual_position="middle",
        identity_start=True,
        align_corners=True,
        pad_to_stride=False,
        channels_last=True,
    )
    torch.manual_seed(1)
    model = SegmentationModel(spec).eval()
    again = SegmentationModel(through_json(model.spec)).eval()
    again.load_state_dict(model.state_dict())
    image = torch.rand(1, 3, 37, 41)
    assert torch.equal(model(image).logits, again(image).logits)
    assert again.spec.to_dict() == model.spec.to_dict()
    assert again.spec.encoder.mean == model.spec.encoder.mean == (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Extended(ModelSpec):
    """Options that a new version might add."""

    stem: EncoderSpec = TINY
    decay: float = 0.0
    neck: Callable[[int], nn.Module] | None = None


def test_new_fields_are_stored_without_further_code():
    spec = Extended(num_classes=4, encoder=TINY, stem=TINY, decay=0.5, neck=partial(SCSA, window=3))
    again = through_json(spec)
    assert (again.stem, again.decay) == (TINY, 0.5)
    assert (again.neck.func, again.neck.keywords) == (SCSA, {"window": 3})
    assert through_json(Extended(num_classes=4, encoder=TINY)).neck is None


def test_missing_fields_take_their_defaults_and_unknown_ones_are_errors():
    plain = ModelSpec(num_classes=4, encoder=TINY).to_dict()
    del plain["align_corners"]
    assert ModelSpec.from_dict(plain).align_corners is False
    with pytest.raises(TypeError, match="unknown"):
        ModelSpec.from_dict(plain | {"unknown": 3})


def test_attention_without_levels_is_an_error():
    with pytest.raises(ValueError, match="no effect"):
        ModelSpec(num_classes=4, encoder=TINY, head=FCNHead, attention=SCSA, attention_levels=[])


def test_factories_become_plain_data():
    described = describe_factory(partial(DANetHead, channels=16))
    assert described == {"class_path": "segattn.heads.danet_head.DANetHead", "init_args": {"channels": 16}}
    with pytest.raises(ValueError, match=r"a class or a functools\.partial"):
        ModelSpec(num_classes=4, head=lambda features, num_classes: None)
    called_by_the_parser = partial(lambda cls, **options: cls(**options), SCSA, window=3)
    assert plain_factory(called_by_the_parser).func is SCSA


@pytest.mark.parametrize(
    ("class_path", "what"),
    [
        ("antigravity.Head", "import it with --import antigravity"),
        ("segattn.heads.NoHead", r"has no segattn\.heads\.NoHead"),
        ("segattn.checkpoints.load_model", r"not a torch\.nn\.Module"),
    ],
)
def test_unknown_and_untrusted_classes_are_errors(class_path, what):
    with pytest.raises(ValueError, match=what):
        build_factory({"class_path": class_path, "init_args": {}})
