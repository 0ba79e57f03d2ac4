"""Checkpoints: all formats load the same model, and each kind of invalid file has its own error message."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from segattn import cli
from segattn.checkpoints import (
    CONTENT,
    CheckpointError,
    TrainedModel,
    checkpoint_file,
    initialize,
    load_model,
    run_of,
    save_model,
)
from segattn.inference import InferenceConfig
from segattn.sample import SizeRule
from tests.checkpoints.saved import CLASSES, lively_model, save_checkpoint
from tests.predict.conftest import save_pictures

INFERENCE = InferenceConfig(SizeRule(short_side=64), window=(32, 48), stride=(16, 24))


@pytest.fixture(scope="module")
def lightning(tmp_path_factory):
    """A checkpoint as training writes it."""
    return save_checkpoint(tmp_path_factory.mktemp("run") / "checkpoints" / "best.ckpt", inference=INFERENCE)


@pytest.fixture(scope="module")
def slim(lightning):
    return save_model(load_model(lightning), lightning.with_name("slim.safetensors"))


def assert_same(one, other):
    assert (one.classes, one.inference, one.version) == (other.classes, other.inference, other.version)
    assert one.model.spec.to_dict() == other.model.spec.to_dict()
    image = torch.rand(1, 3, 41, 57)
    assert torch.equal(one.model(image).logits, other.model(image).logits)


def test_all_formats_load_the_same_model(lightning, slim, tmp_path):
    trained = load_model(lightning)
    trained.save_pretrained(tmp_path / "hub")
    assert {path.name for path in (tmp_path / "hub").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    small = save_model(trained, tmp_path / "small.ckpt")
    for path in (slim, str(slim), small, lightning.parent, lightning.parents[1], tmp_path / "hub"):
        assert_same(trained, load_model(path))
    assert_same(trained, TrainedModel.from_pretrained(tmp_path / "hub"))
    assert not trained.model.training


def test_loaded_model_has_the_memory_format_it_was_trained_with(tmp_path):
    path = save_checkpoint(tmp_path / "last.ckpt", lively_model(channels_last=True))
    for file in (path, save_model(load_model(path), tmp_path / "slim.safetensors")):
        model = load_model(file).model
        assert model.spec.channels_last
        weights = [module.weight for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
        assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_slim_files_are_readable_without_segattn(slim):
    with safe_open(slim, framework="np") as file:
        content = json.loads(file.metadata()[CONTENT])
        names = set(file.keys())
    assert content["inference"]["window"] == [32, 48]
    assert content["model"]["encoder"]["mean"] == [0.5, 0.5, 0.5]
    assert [info["name"] for info in content["classes"]] == list(CLASSES.names)
    assert "head.classifier.2.weight" in names


def test_exported_slim_file_replaces_the_checkpoint(lightning, tmp_path, capsys):
    slim = tmp_path / "new" / "slim.safetensors"
    export = ["export", "--checkpoint", str(lightning.parents[1]), "--format", "slim", "--output"]
    assert cli.main([*export, str(slim)]) == 0
    said = capsys.readouterr().out
    assert "the same class on all of" in said
    assert "largest difference 0," in said
    assert slim.stat().st_mode == lightning.stat().st_mode
    assert_same(load_model(lightning), load_model(slim))
    assert not any("newly" in line for line in initialize(lively_model(), slim, classes=CLASSES))
    save_pictures(tmp_path / "images", "a.png")
    for name, checkpoint in (("one", lightning), ("other", slim)):
        arguments = ["--checkpoint", str(checkpoint), "--images", str(tmp_path / "images")]
        assert cli.main(["predict", *arguments, "--output", str(tmp_path / name)]) == 0
    assert (tmp_path / "one/a.png").read_bytes() == (tmp_path / "other/a.png").read_bytes()
    assert cli.main([*export, str(tmp_path / "slim.pt")]) == 1
    assert "The output of format slim must end in .safetensors, got slim.pt." in capsys.readouterr().err


def test_failed_save_keeps_the_previous_file(slim, tmp_path, monkeypatch):
    trained, path = load_model(slim), tmp_path / "model.safetensors"
    save_model(trained, path)
    before = path.read_bytes()

    def full(weights, draft, metadata):
        Path(draft).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("segattn.checkpoints.trained.save_file", full)
    with pytest.raises(OSError, match=r"model\.safetensors cannot be written: No space left on device"):
        save_model(trained, path)
    assert (path.read_bytes(), [entry.name for entry in tmp_path.iterdir()]) == (before, [path.name])
    with pytest.raises(ValueError, match=r"saved as \.safetensors or \.ckpt"):
        save_model(trained, tmp_path / "model.bin")


class Payload:
    """Creates a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "module"])
def test_code_in_a_file_is_an_error_and_not_executed(lightning, tmp_path, kind):
    path, made = tmp_path / "bad.ckpt", tmp_path / "made"
    content = {**torch.load(lightning, weights_only=True), "more": Payload(made)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    elif kind == "module":
        torch.save({"state_dict": lively_model()}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(CheckpointError, match=r"bad.ckpt is refused: besides weights and plain data it holds"):
        load_model(path)
    assert not made.exists()


def rewritten(path, source, change):
    checkpoint = torch.load(source, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


CHANGES = {
    "written by segattn 99.0, but this is": lambda c: c[CONTENT].update(version="99.0"),
    "the version that wrote it is missing": lambda c: c[CONTENT].update(version="soon"),
    "table has 4 classes, but its model 7": lambda c: c[CONTENT]["model"].update(num_classes=7),
    "it lacks head.classifier.2.bias": lambda c: c["state_dict"].pop("model.head.classifier.2.bias"),
    "it has the unknown weight head.x": lambda c: c["state_dict"].update({"model.head.x": torch.ones(1)}),
    "head.classifier.2.bias has shape .5,. instead of .4,.": lambda c: c["state_dict"].update(
        {"model.head.classifier.2.bias": torch.ones(5)}
    ),
    "it does not describe its model": lambda c: c.pop(CONTENT),
    "holds no weights": lambda c: c.update(state_dict={}),
    "has no 'inference'": lambda c: c[CONTENT].pop("inference"),
    "unknown keys in an inference config: 512": lambda c: c[CONTENT].update(inference={"512": 2048}),
    "has no segattn.heads.fcn_head.Nonsense": lambda c: c[CONTENT]["model"]["head"].update(
        class_path="segattn.heads.fcn_head.Nonsense"
    ),
    "os.system is not a torch.nn.Module|not part of segattn": lambda c: c[CONTENT]["model"]["head"].update(
        class_path="os.system"
    ),
    "segattn import --from openmmlab": lambda c: (
        c.clear(),
        c.update(state_dict={"backbone.x": torch.ones(1), "decode_head.x": torch.ones(1)}),
    ),
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_each_invalid_checkpoint_has_a_specific_message(lightning, tmp_path, sentence):
    path = tmp_path / "wrong.ckpt"
    rewritten(path, lightning, CHANGES[sentence])
    with pytest.raises(CheckpointError, match=sentence) as error:
        load_model(path)
    assert str(error.value).count("wrong.ckpt") == 1
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["lightning", "slim"])
def test_truncated_files_are_errors(lightning, slim, tmp_path, kind):
    whole = (lightning if kind == "lightning" else slim).read_bytes()
    path = tmp_path / "cut.ckpt"
    for length in (0, 1, 7, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.ckpt is (empty|damaged|not a checkpoint)"):
            load_model(path)


def test_changed_bit_is_detected(lightning, tmp_path):
    whole, path = bytearray(lightning.read_bytes()), tmp_path / "bit.ckpt"
    weight = load_model(lightning).model.head.classifier[-1].weight.detach().numpy().tobytes()
    whole[whole.index(weight) + 5] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"damaged .the checksum of .* is wrong"):
        load_model(path)


def test_other_files_are_errors(tmp_path):
    (tmp_path / "photo.ckpt").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(CheckpointError, match=r"neither safetensors nor a file of torch\.save"):
        load_model(tmp_path / "photo.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="holds a list"):
        load_model(tmp_path / "list.ckpt")
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors", {CONTENT: "{"})
    with pytest.raises(CheckpointError, match="invalid JSON in its description"):
        load_model(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint in the folder"):
        load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*nowhere"):
        load_model(tmp_path / "nowhere")
    assert cli.main(["predict", "--checkpoint", str(tmp_path / "x.safetensors"), "--images", "a", "--output", "b"]) == 1


def test_newest_version_with_a_checkpoint_is_loaded_from_the_folder_of_a_run(tmp_path):
    for version in (0, 2, 10):
        (tmp_path / f"version_{version}").mkdir()
    for version in (0, 2):
        save_checkpoint(tmp_path / f"version_{version}" / "checkpoints" / "best.ckpt")
    save_checkpoint(tmp_path / "version_0" / "checkpoints" / "last.ckpt")
    best = tmp_path / "version_2" / "checkpoints" / "best.ckpt"
    assert checkpoint_file(tmp_path) == checkpoint_file(tmp_path / "version_2") == checkpoint_file(best) == best
    assert checkpoint_file(tmp_path, "last") == tmp_path / "version_0" / "checkpoints" / "last.ckpt"
    assert run_of(best) == tmp_path / "version_2"
    assert run_of(tmp_path / "model.safetensors") == tmp_path


@pytest.mark.parametrize("name", ["/no/where", "./nowhere", "a/b/c"])
def test_missing_folder_does_not_query_the_hub(name):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        TrainedModel.from_pretrained(name)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda value: value * torch.nan, "contains values that are not finite numbers"),
        (lambda value: value.to(torch.complex64), "contains values that are not finite numbers"),
        (lambda value: value.to(torch.int32), "contains values that are not finite numbers"),
        (lambda value: value.to_sparse(), "is not a dense, unquantized tensor"),
        (lambda value: value.to("meta"), "is not a dense, unquantized tensor"),
        (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "is not a dense, unquantized tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*[Qq]uantize", "ignore:TypedStorage")
def test_unusable_weights_are_errors(lightning, tmp_path, spoil, what):
    checkpoint = torch.load(lightning, weights_only=True)
    key = next(key for key, value in checkpoint["state_dict"].items() if value.ndim == 4)
    checkpoint["state_dict"][key] = spoil(checkpoint["state_dict"][key])
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=what):
        load_model(tmp_path / "x.ckpt")


def test_zero_std_is_an_error(lightning, tmp_path):
    checkpoint = torch.load(lightning, weights_only=True)
    checkpoint[CONTENT]["model"]["encoder"]["std"] = [0.2, 0.0, 0.2]
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="std must be positive"):
        load_model(tmp_path / "x.ckpt")


def test_deeply_nested_description_is_an_error(slim, tmp_path):
    with safe_open(slim, framework="pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # cannot be iterated
    save_file(weights, tmp_path / "x.safetensors", {CONTENT: "[" * 100_000})
    with pytest.raises(CheckpointError, match="invalid JSON in its description"):
        load_model(tmp_path / "x.safetensors")
