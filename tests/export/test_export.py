"""Exported files compute the same as their models and describe themselves."""

import inspect
import json

import numpy as np
import onnx
import pytest
import torch
from timm.layers import AvgPool2dSame, Conv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch.nn.functional import adaptive_avg_pool2d

from segattn.checkpoints import CheckpointError
from segattn.checkpoints.network import load_network
from segattn.cli import main
from segattn.export import command, export_model, graph
from segattn.export.agreement import Agreement
from segattn.export.graph import _CellMeans, _with_fixed_padding
from segattn.inference import InferenceConfig
from tests.checkpoints.saved import CLASSES, lively_model, save_checkpoint
from tests.predict.conftest import mask, save_pictures


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 6), (7, 13)])
@pytest.mark.parametrize("cells", [(1, 1), (2, 2), (3, 6)])
def test_cell_means_equal_adaptive_pooling(size, cells):
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(_CellMeans(cells)(x), adaptive_avg_pool2d(x, cells))


@pytest.mark.parametrize(
    "layer",
    [
        Conv2dSame(3, 4, 3, 2),
        Conv2dSame(3, 4, (3, 5), 1, dilation=2, bias=False),
        Conv2dSame(3, 3, 1, 2, groups=3),
        MaxPool2dSame(3, 2),
        AvgPool2dSame(2, 1, count_include_pad=False),
    ],
    ids=str,
)
def test_fixed_padding_equals_tensorflow_padding(layer):
    x = torch.randn(2, 3, 8, 14)
    torch.testing.assert_close(_with_fixed_padding(layer)(x), layer(x))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint, its exported files, and a folder of images."""
    folder = tmp_path_factory.mktemp("files")
    save_checkpoint(
        folder / "m.ckpt", lively_model(channels_last=True), inference=InferenceConfig(window=(32, 40), stride=(16, 24))
    )
    save_pictures(folder / "images", "a.png", "b/c.jpg", height=45, width=61)
    for suffix in ("pt2", "onnx"):
        assert (
            run("export", folder, format=FORMATS[suffix], output=folder / f"m.{suffix}", images=folder / "images") == 0
        )
    return folder


FORMATS = {"pt2": "torch", "onnx": "onnx"}


def run(command, files, **options):
    given = {"checkpoint": files / "m.ckpt", **options}
    return main([command, *(str(part) for name, value in given.items() for part in (f"--{name}", value))])


def test_unknown_format_is_an_error(tmp_path):
    unchecked = inspect.unwrap(export_model)  # without the run-time type check of the tests
    with pytest.raises(ValueError, match="one of onnx, torch, slim, got 'tf'"):
        unchecked(tmp_path / "m.ckpt", tmp_path / "m.tf", format="tf")


def test_predict_runs_an_exported_file(files, tmp_path):
    assert run("predict", files, images=files / "images", output=tmp_path / "own") == 0
    checkpoint = files / "m.onnx"
    assert run("predict", files, checkpoint=checkpoint, images=files / "images", output=tmp_path / "exported") == 0
    for name in ("a.png", "b/c.png"):
        own, exported = mask(tmp_path / "own" / name), mask(tmp_path / "exported" / name)
        assert set(np.unique(own)) <= set(CLASSES.label_ids)
        assert np.array_equal(own, exported)
    assert (tmp_path / "own/classes.json").read_bytes() == (tmp_path / "exported/classes.json").read_bytes()


def test_onnx_metadata(files):
    model = onnx.load(files / "m.onnx")
    described = json.loads({entry.key: entry.value for entry in model.metadata_props}["segattn"])
    assert described["classes"][2] == {"name": "car", "color": [0, 0, 142], "label_id": 26, "thing": True}
    assert described["inference"]["window"] == [32, 40]
    assert described["normalization"]["inside"]
    assert len(described["normalization"]["mean"]) == 3
    for value, name, channels in ((model.graph.input[0], "image", 3), (model.graph.output[0], "logits", 4)):
        dims = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        assert (value.name, dims) == (name, ["batch", channels, "height", "width"])


@pytest.mark.parametrize(
    ("other_class", "message"),
    [(0, "the same class on all of 9,000 pixels"), (3, "another class on 3 of 9,000 pixels")],
)
def test_command_prints_the_agreement(other_class, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "export_model", lambda *_, **__: Agreement(5, 9000, other_class, 1.5e-6, 12.3))
    (tmp_path / "m.pt2").write_bytes(bytes(2**20))
    assert run("export", tmp_path, format="torch", output=tmp_path / "m.pt2") == 0
    output = capsys.readouterr().out
    assert f"on 5 images: {message}; largest difference 1.5e-06, logits up to 12.3\n" in output
    assert output.endswith("m.pt2, 1.0 MiB\n")


def test_file_that_disagrees_is_not_kept(files, tmp_path, capsys, monkeypatch):
    save_checkpoint(tmp_path / "m.ckpt", lively_model(seed=1))
    (tmp_path / "m.pt2").write_text("before")
    wrong = (files / "m.pt2").read_bytes()
    monkeypatch.setattr(graph, "write_program", lambda program, trained, path, format: path.write_bytes(wrong))
    assert run("export", tmp_path, format="torch", output=tmp_path / "m.pt2") == 1
    assert "disagrees with the checkpoint and is not kept" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.ckpt", "m.pt2"]
    assert (tmp_path / "m.pt2").read_text() == "before"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output": "m.pt"}, "The output of format onnx must end in .onnx, got m.pt."),
        ({"checkpoint": "missing.ckpt"}, "There is no checkpoint"),
        ({"images": "missing.png"}, "There is no image at"),
    ],
)
def test_user_errors_are_one_sentence(files, tmp_path, capsys, changed, message):
    assert run("export", files, **{"format": "onnx", "output": tmp_path / "m.onnx", **changed}) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_missing_package_is_named(files, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ValueError, match=r"needs onnxscript: pip install 'segattn\[export\]'"):
        export_model(files / "m.ckpt", tmp_path / "m.onnx", format="onnx")


def test_foreign_damaged_and_torch_export_files_are_refused(files, tmp_path):
    model = onnx.load(files / "m.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(CheckpointError, match="was not written by segattn export"):
        load_network(tmp_path / "foreign.onnx", torch.device("cpu"))
    whole = (files / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is damaged or no"):
        load_network(tmp_path / "m.onnx", torch.device("cpu"))
    with pytest.raises(CheckpointError, match=r"is a torch\.export file"):
        load_network(files / "m.pt2", torch.device("cpu"))
