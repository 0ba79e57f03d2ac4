import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from segattn.cli import main
from segattn.init.training_cost import UNKNOWN_COST
from tests.data import layouts


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten images in two folders, and their masks."""
    for index in range(10):
        name = f"{'day' if index < 5 else 'night'}/{index}"
        layouts.save(tmp_path / "photos" / f"{name}.jpg", layouts.photo(index, (70, 90)))
        layouts.save(tmp_path / "labels" / f"{name}.png", layouts.quarters([0, 4, 9, 255], (70, 90)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*options: str) -> int:
    small = ["--weights", "null", "--encoder", "tu-mobilenetv3_small_050"]
    return main(["init", "--images", "photos", "--masks", "labels", *small, *options])


def test_the_commands_that_it_prints_work(data, capsys):
    assert init("--name", "my set", "--epochs", "1") == 0
    printed = capsys.readouterr().out
    assert "8 training and 2 validation images" in printed
    assert (data / "my set_val.txt").read_text() == "day/4.jpg\nnight/9.jpg\n"
    config = yaml.safe_load((data / "my set.yaml").read_text())
    assert config["data"]["init_args"]["crop_size"] == [64, 64]
    assert config["model"]["encoder"]["weights"] is None
    commands = [shlex.split(line) for line in re.findall(r"^  segattn (.+)$", printed, re.M)]
    assert [command[0] for command in commands] == ["check", "fit", "validate", "compare"]
    for command in commands:
        assert main([*command, *(["--data.num_workers", "0"] if command[0] in ("fit", "validate") else [])]) == 0
    assert "surplus" not in capsys.readouterr().out
    assert (data / "comparison" / "index.html").is_file()
    assert init("--name", "my set") == 1
    assert "my set_train.txt exists already" in capsys.readouterr().err


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the training step that is timed, which takes seconds."""
    monkeypatch.setattr("segattn.init.command.training_cost", lambda *_, **__: UNKNOWN_COST)


@pytest.mark.usefixtures("unmeasured")
def test_subfolders_are_the_splits(data):
    for folder in ("photos", "labels"):
        (data / folder / "day").rename(data / folder / "training")
        (data / folder / "night").rename(data / folder / "valid")
    assert init() == 0
    assert {path.name for path in data.glob("mine*")} == {"mine.yaml", "mine_classes.yaml"}
    settings = yaml.safe_load((data / "mine.yaml").read_text())["data"]["init_args"]
    assert (settings["train_images"], settings["val_masks"]) == ("photos/training", "labels/valid")


@pytest.mark.usefixtures("unmeasured")
def test_images_without_a_mask_are_reported(data, capsys):
    lost = sorted(data.glob("labels/*/*"))[1]
    lost.unlink()
    assert init() == 0
    printed = capsys.readouterr().out
    assert "warning: 1 of 10 images have no mask, for example photos/" in printed
    assert f"({lost.relative_to(data)} is missing)" in printed


@pytest.mark.usefixtures("unmeasured")
def test_channels_that_are_not_rgb_are_measured(data, capsys):
    rasterio = pytest.importorskip("rasterio", reason="the extra `tiff` is not installed")
    values = np.arange(5, dtype=np.uint16)[:, None, None] * 6553 + np.zeros((70, 90), np.uint16)
    values[:, :35] += 1311  # half of the pixels, 0.02 of the largest value
    for path in sorted(data.glob("photos/*/*.jpg")):
        path.unlink()
        file = {"driver": "GTiff", "height": 70, "width": 90, "count": 5, "dtype": "uint16"}
        with rasterio.open(path.with_suffix(".tif"), "w", **file) as image:
            image.write(values)
    assert init() == 1
    assert "other channels than RGB need --channels NUMBER." in capsys.readouterr().err
    assert init("--channels", "4") == 1
    assert "it has 5 channels, but `channels` is 4" in capsys.readouterr().err
    assert init("--channels", "5") == 0
    config = yaml.safe_load((data / "mine.yaml").read_text())
    assert config["data"]["init_args"]["channels"] == 5
    assert config["model"]["encoder"]["mean"] == pytest.approx([0.01, 0.11, 0.21, 0.31, 0.41], abs=1e-4)
    assert config["model"]["encoder"]["std"] == pytest.approx([0.01] * 5, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--masks", "nowhere"], "There is no folder"),
        (["--masks", "empty"], "0 of the 10 images in photos have a mask in empty, for example empty"),
        (["--encoder", "resnet5000"], "resnet5000"),
        (["--channels", "0"], "--channels must be at least 1, got 0."),
        (["--epochs", "-3"], "--epochs must be at least 1, got -3."),
        (["--output", "labels/day/4.png"], "labels/day/4.png"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(data, capsys, options, sentence):
    (data / "empty").mkdir()
    before = sorted(data.rglob("*"))
    assert init(*options) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert sorted(data.rglob("*")) == before
