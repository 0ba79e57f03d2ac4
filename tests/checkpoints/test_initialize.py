"""Initialization from a file: matching weights are copied, and the report lists the others."""

import re
from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from segattn.attention import SCSA, SqueezeExcite
from segattn.checkpoints import CheckpointError, initialize, load_model, save_model
from segattn.heads import DANetHead
from segattn.sample import ClassInfo, ClassTable
from segattn.training.task import SegmentationTask
from tests.checkpoints.saved import CLASSES, HEAD, TINY, lively_model, save_checkpoint

OTHERS = ClassTable(tuple(ClassInfo(name, (i, i, i), i) for i, name in enumerate(("a", "b", "c", "d"))))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("source") / "best.ckpt", lively_model(seed=5))


def same(model, path, prefix):
    """Whether the weights below a prefix are those of a file."""
    own, theirs = model.state_dict(), load_model(path).model.state_dict()
    found = [torch.equal(value, theirs[key]) for key, value in own.items() if key.startswith(prefix)]
    assert found
    return all(found)


def test_all_weights_are_copied_from_the_same_model(source, tmp_path):
    slim = save_model(load_model(source), tmp_path / "slim.safetensors")
    for path in (source, slim, source.parent):
        model = lively_model()
        lines = initialize(model, path, classes=CLASSES)
        assert same(model, source, "")
        assert [line.split(":")[0].strip() for line in lines[1:]] == ["encoder", "head.convs", "head.classifier"]
        assert not any("newly" in line for line in lines)


def test_a_different_head_keeps_its_weights(source):
    model = lively_model(partial(DANetHead, channels=16, stage3_channels=None), attention=SCSA)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    lines = initialize(model, source, classes=CLASSES)
    assert same(model, source, "encoder.")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items() if key.startswith("head."))
    report = "\n".join(lines)
    assert "attention.5: 0 of" in report
    assert re.search(r"head\.position: 0 of (\d+) weights copied, \1 newly initialized \(not in the file\)", report)
    assert "unused weights of the file: head.classifier (" in report


def test_classifiers_of_other_classes_are_not_copied(source):
    model = lively_model(classes=OTHERS)
    lines = initialize(model, source, classes=OTHERS)
    assert any("2 newly initialized (for other classes)" in line for line in lines)
    assert same(model, source, "head.convs")
    assert not same(model, source, "head.classifier.2")
    five = ClassTable((*OTHERS.classes, ClassInfo("e", (4, 4, 4), 4)))
    lines = initialize(lively_model(classes=five), source, classes=five)
    assert any("shape (4,) in the file, (5,) here" in line for line in lines)


def test_encoder_must_match_completely(source, tmp_path):
    model = lively_model()
    lines = initialize(model, source, classes=CLASSES, part="encoder")
    assert same(model, source, "encoder.")
    assert not same(model, source, "head.")
    assert "head.convs: 0 of 12 weights copied, 12 newly initialized (encoder only)" in "\n".join(lines)
    state = load_model(source).model.encoder.body.state_dict()
    state.pop("model.layer1.0.conv1.weight")
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(CheckpointError, match=r"1 of its .* are missing, first model\.layer1\.0\.conv1\.weight"):
        initialize(lively_model(), tmp_path / "part.pt", classes=CLASSES, part="encoder")
    norm = {key: value for key, value in load_model(source).model.encoder.body.state_dict().items() if value.ndim < 2}
    for nothing in ({"x": torch.zeros(1)}, norm):
        torch.save(nothing, tmp_path / "none.pt")
        with pytest.raises(CheckpointError, match="does not match the encoder tu-test_resnet"):
            initialize(lively_model(), tmp_path / "none.pt", classes=CLASSES)


@pytest.mark.parametrize("prefixed", [True, False])
def test_encoder_weights_fit_an_encoder_with_residual_attention(source, tmp_path, prefixed):
    state = load_model(source).model.encoder.body.state_dict()
    save_file(
        {key if prefixed else key.removeprefix("model."): value for key, value in state.items()},
        tmp_path / "e.safetensors",
    )
    for position in ("last", "middle"):
        model = lively_model(residual_attention=partial(SqueezeExcite, reduction=4), residual_position=position)
        initialize(model, tmp_path / "e.safetensors", classes=CLASSES, part="encoder")
        place = "bn2.0" if position == "last" else "conv2.1"
        own = model.encoder.body.state_dict()[f"model.layer1.0.{place}.weight"]
        assert torch.equal(own, state[f"model.layer1.0.{place[:-2]}.weight"])


def test_task_is_initialized_from_a_file(source):
    task = SegmentationTask(CLASSES, encoder=TINY, head=HEAD, init_from=str(source))
    assert same(task.model, source, "")
    assert task.initialized[0].startswith("initialized from ")
    with pytest.raises(ValueError, match="init_part encoder has no effect without init_from"):
        SegmentationTask(CLASSES, encoder=TINY, head=HEAD, init_part="encoder")
