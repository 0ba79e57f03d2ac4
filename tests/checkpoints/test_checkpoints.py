"""Files of trained models: every kind loads to the same model, and each kind of wrong file has its own sentence."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from segattn import cli
from segattn.checkpoints import CONTENT, CheckpointError, TrainedModel, initialize, load_model, save_model
from segattn.inference import InferenceConfig
from segattn.sample import SizeRule
from tests.checkpoints.saved import CLASSES, lively_model, save_checkpoint
from tests.predict.conftest import save_pictures

INFERENCE = InferenceConfig(SizeRule(short_side=64), window=(32, 48), stride=(16, 24))


@pytest.fixture(scope="module")
def lightning(tmp_path_factory):
    """What training writes."""
    return save_checkpoint(tmp_path_factory.mktemp("run") / "checkpoints" / "best.ckpt", inference=INFERENCE)


@pytest.fixture(scope="module")
def slim(lightning):
    return save_model(load_model(lightning), lightning.with_name("slim.safetensors"))


def assert_same(one, other):
    assert (one.classes, one.inference, one.version) == (other.classes, other.inference, other.version)
    assert one.model.blueprint == other.model.blueprint
    image = torch.rand(1, 3, 41, 57)
    assert torch.equal(one.model(image).logits, other.model(image).logits)


def test_every_kind_of_file_and_folder_gives_the_same_model(lightning, slim, tmp_path):
    trained = load_model(lightning)
    trained.save_pretrained(tmp_path / "hub")
    assert {path.name for path in (tmp_path / "hub").iterdir()} == {"config.json", "model.safetensors", "README.md"}
    small = save_model(trained, tmp_path / "small.ckpt")
    for path in (slim, str(slim), small, lightning.parent, lightning.parents[1], tmp_path / "hub"):
        assert_same(trained, load_model(path))
    assert_same(trained, TrainedModel.from_pretrained(tmp_path / "hub"))
    assert not trained.model.training


def test_a_slim_file_tells_all_without_segattn(slim):
    with safe_open(slim, framework="np") as file:
        content = json.loads(file.metadata()[CONTENT])
        names = set(file.keys())
    assert content["inference"]["window"] == [32, 48]
    assert content["model"]["encoder"]["mean"] == [0.5, 0.5, 0.5]
    assert [info["name"] for info in json.loads(content["classes"])] == list(CLASSES.names)
    assert "head.classifier.2.weight" in names


def test_the_command_writes_a_slim_file_that_serves_as_the_checkpoint(lightning, tmp_path, capsys):
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


def test_a_file_that_cannot_be_written_leaves_the_previous_one(slim, tmp_path, monkeypatch):
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
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "module"])
def test_code_in_a_file_is_refused_and_not_run(lightning, tmp_path, kind):
    path, made = tmp_path / "bad.ckpt", tmp_path / "made"
    content = {**torch.load(lightning, weights_only=True), "more": Payload(made)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    elif kind == "module":
        torch.save({"state_dict": lively_model()}, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(CheckpointError, match=r"bad.ckpt is refused: it holds .* beside weights and plain data"):
        load_model(path)
    assert not made.exists()


def rewritten(path, source, change):
    checkpoint = torch.load(source, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)


CHANGES = {
    "written by segattn 99.0, and this is": lambda c: c[CONTENT].update(version="99.0"),
    "does not tell the version": lambda c: c[CONTENT].update(version="soon"),
    "table has 4 classes, its model 7": lambda c: c[CONTENT]["model"].update(num_classes=7),
    "lack 1 .first head.classifier.2.bias": lambda c: c["state_dict"].pop("model.head.classifier.2.bias"),
    "have 1 more .first head.x": lambda c: c["state_dict"].update({"model.head.x": torch.ones(1)}),
    "4 classes: head.classifier.2.bias has shape .5,.": lambda c: c["state_dict"].update(
        {"model.head.classifier.2.bias": torch.ones(5)}
    ),
    "it holds no description of its model": lambda c: c.pop(CONTENT),
    "holds no weights": lambda c: c.update(state_dict={}),
    "has no 'inference'": lambda c: c[CONTENT].pop("inference"),
    "an inference config has no 512": lambda c: c[CONTENT].update(inference={"512": 2048}),
    "has no segattn.heads.fcn_head.Nonsense": lambda c: c[CONTENT]["model"]["head"].update(
        class_path="segattn.heads.fcn_head.Nonsense"
    ),
    "os.system is no torch module|not part of segattn": lambda c: c[CONTENT]["model"]["head"].update(
        class_path="os.system"
    ),
    "segattn import --from openmmlab": lambda c: (
        c.clear(),
        c.update(state_dict={"backbone.x": torch.ones(1), "decode_head.x": torch.ones(1)}),
    ),
}


@pytest.mark.parametrize("sentence", CHANGES)
def test_every_wrong_checkpoint_has_its_own_sentence(lightning, tmp_path, sentence):
    path = tmp_path / "wrong.ckpt"
    rewritten(path, lightning, CHANGES[sentence])
    with pytest.raises(CheckpointError, match=sentence) as error:
        load_model(path)
    assert str(error.value).count("wrong.ckpt") == 1
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["lightning", "slim"])
def test_truncated_and_damaged_files_are_refused(lightning, slim, tmp_path, kind):
    whole = (lightning if kind == "lightning" else slim).read_bytes()
    path = tmp_path / "cut.ckpt"
    for length in (0, 1, 7, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.ckpt is (empty|damaged|no checkpoint)"):
            load_model(path)


def test_a_changed_bit_of_a_weight_is_noticed(lightning, tmp_path):
    whole, path = bytearray(lightning.read_bytes()), tmp_path / "bit.ckpt"
    weight = load_model(lightning).model.head.classifier[-1].weight.detach().numpy().tobytes()
    whole[whole.index(weight) + 5] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"damaged .the checksum of .* is wrong"):
        load_model(path)


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    (tmp_path / "photo.ckpt").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(CheckpointError, match=r"neither safetensors nor a file of torch\.save"):
        load_model(tmp_path / "photo.ckpt")
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="holds a list"):
        load_model(tmp_path / "list.ckpt")
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors", {CONTENT: "{"})
    with pytest.raises(CheckpointError, match="description is no JSON"):
        load_model(tmp_path / "x.safetensors")
    with pytest.raises(FileNotFoundError, match="no checkpoint in the folder"):
        load_model(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*nowhere"):
        load_model(tmp_path / "nowhere")
    assert cli.main(["predict", "--checkpoint", str(tmp_path / "x.safetensors"), "--images", "a", "--output", "b"]) == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        *((broken, "config.json is damaged") for broken in ("{", "[1]", "null", "{}", "[" * 100_000)),
        ('{"segattn": {"version": "99.0"}}', "config.json describes another model than .*model.safetensors"),
    ],
)
def test_a_folder_whose_config_is_not_that_of_its_weights_is_refused(slim, tmp_path, text, what):
    load_model(slim).save_pretrained(tmp_path / "hub")
    (tmp_path / "hub" / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=what):
        TrainedModel.from_pretrained(tmp_path / "hub")


@pytest.mark.parametrize("name", ["/no/where", "./nowhere", "a/b/c"])
def test_a_folder_that_is_not_there_is_no_name_on_the_hub(name):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        TrainedModel.from_pretrained(name)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda value: value * torch.nan, "holds values that are no finite numbers"),
        (lambda value: value.to(torch.complex64), "holds values that are no finite numbers"),
        (lambda value: value.to(torch.int32), "holds values that are no finite numbers"),
        (lambda value: value.to_sparse(), "holds no plain tensor as"),
        (lambda value: value.to("meta"), "holds no plain tensor as"),
        (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "holds no plain tensor as"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*[Qq]uantize", "ignore:TypedStorage")
def test_weights_that_are_no_numbers_are_refused(lightning, tmp_path, spoil, what):
    checkpoint = torch.load(lightning, weights_only=True)
    key = next(key for key, value in checkpoint["state_dict"].items() if value.ndim == 4)
    checkpoint["state_dict"][key] = spoil(checkpoint["state_dict"][key])
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=what):
        load_model(tmp_path / "x.ckpt")


def test_a_normalization_that_divides_by_nothing_is_refused(lightning, tmp_path):
    checkpoint = torch.load(lightning, weights_only=True)
    checkpoint[CONTENT]["model"]["encoder"]["std"] = [0.2, 0.0, 0.2]
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="std must be positive"):
        load_model(tmp_path / "x.ckpt")


def test_a_description_that_nests_without_end_is_refused(slim, tmp_path):
    with safe_open(slim, framework="pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # no mapping
    save_file(weights, tmp_path / "x.safetensors", {CONTENT: "[" * 100_000})
    with pytest.raises(CheckpointError, match="its description is no JSON"):
        load_model(tmp_path / "x.safetensors")
