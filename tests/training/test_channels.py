"""Images with five channels of 16 bits through every command, and what pretrained weights become."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from segattn.checkpoints import load_model
from segattn.cli import main
from segattn.data import Folder, FolderDataModule
from segattn.explain import explain
from segattn.heads import SCSADecoder
from segattn.inference import infer_labels
from segattn.io.raster_files import read_raster
from segattn.models import ModelSpec, SegmentationModel
from segattn.models.encoders import Encoder, EncoderSpec
from tests.data import layouts

CHANNELS = 5


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_pretrained_weights_are_spread_over_the_channels(tmp_path: Path, channels: int) -> None:
    spec = EncoderSpec("resnet18", None, 32)
    given = Encoder(spec)
    torch.save(given.body.state_dict(), tmp_path / "weights.pt")
    statistics = {"mean": (0.5,) * channels, "std": (0.25,) * channels}
    encoder = Encoder(EncoderSpec("resnet18", str(tmp_path / "weights.pt"), 32, **statistics), channels=channels).eval()
    old, new = given.body.conv1.weight, encoder.body.conv1.weight
    assert new.shape == (64, channels, 7, 7)
    if channels == 1:
        torch.testing.assert_close(new[:, 0], old.sum(1))
    for index in range(channels if channels > 1 else 0):
        torch.testing.assert_close(new[:, index], old[:, index % 3] * 3 / channels)
    assert encoder.info.channels == (channels, *given.info.channels[1:])
    image = torch.rand(1, channels, 64, 64)
    torch.testing.assert_close(encoder(image)[0], (image - 0.5) / 0.25)
    assert torch.equal(encoder.body.layer1[0].conv1.weight, given.body.layer1[0].conv1.weight)


@pytest.mark.parametrize("name", ["vgg11", "mit_b0", "tu-convnext_atto", "vit-test_vit"])
def test_families_of_encoders_take_other_channels(name: str) -> None:
    spec = EncoderSpec(name, None, 32, mean=(0.5,) * 4, std=(0.2,) * 4)
    model = SegmentationModel(ModelSpec(3, spec, partial(SCSADecoder, channels=8), channels=4)).eval()
    features = model.encoder(torch.rand(1, 4, 64, 96))
    levels = model.pyramid(features) if model.pyramid else features
    assert tuple(level.shape[1] for level in levels) == model.encoder.info.channels


def test_every_channel_needs_a_mean() -> None:
    with pytest.raises(
        ValueError, match=r"^Images of 4 channels need 4 values in encoder\.mean and in encoder\.std, got None"
    ):
        Encoder(EncoderSpec("resnet18", None, 32), channels=4)
    with pytest.raises(ValueError, match=r"^Images of 3 channels need 3 values .* got \[0\.1\] and None\.$"):
        Encoder(EncoderSpec("resnet18", None, 32, mean=(0.1,)))


def write_data(rasterio, folder: Path) -> Path:
    """Georeferenced images of random values, brighter in the fifth channel where the label is 1, and a config."""
    layouts.folder(folder, {"train": 4, "val": 2}, size=(40, 56))
    generator = np.random.default_rng(0)
    place = {"crs": "EPSG:32633", "transform": rasterio.transform.from_origin(390000, 5820000, 0.5, 0.5)}
    shape = {"height": 40, "width": 56, "count": CHANNELS, "dtype": "uint16"}
    for path in sorted((folder / "images").rglob("*.*")):
        values = generator.integers(0, 65536, (CHANNELS, 40, 56)).astype(np.uint16)
        values[4, :20, :28] |= 0x8000
        path.unlink()
        with rasterio.open(path.with_suffix(".tif"), "w", driver="GTiff", **shape, **place) as file:
            file.write(values)
    data = {"root": str(folder), "channels": CHANNELS, "crop_size": [32, 32], "batch_size": 2, "num_workers": 0}
    quiet = {"enable_progress_bar": False, "enable_model_summary": True, "num_sanity_val_steps": 0}
    statistics = {"mean": [0.5] * CHANNELS, "std": [0.29] * CHANNELS}
    config = {
        "data": {"class_path": "FolderDataModule", "init_args": data | {"copy_paste": 1.0}},
        "model": {
            "encoder": {"name": "tu-test_resnet", "weights": None, "output_stride": 8, **statistics},
            "head": {"class_path": "FCNHead", "init_args": {"channels": 8, "stage3_channels": 8}},
        },
        "trainer": {"max_steps": 4, "accelerator": "cpu", "log_every_n_steps": 1, **quiet},
    }
    path = folder / "five.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def open_data(folder: Path, split: str) -> Folder:
    return FolderDataModule(str(folder), channels=CHANNELS).dataset(split)


def test_five_channels_of_16_bits_through_all_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rasterio = pytest.importorskip("rasterio", reason="the extra `tiff` is not installed")
    config = write_data(rasterio, tmp_path)
    image = sorted((tmp_path / "images" / "val").rglob("*.tif"))[0]
    data = open_data(tmp_path, "val")
    with rasterio.open(data.pairs[0].image) as file:
        np.testing.assert_allclose(data[0]["image"].numpy() * 65535, file.read(), atol=0.01)
    assert main(["check", "--config", str(config), "--html", str(tmp_path / "check.html")]) == 0
    train = np.stack([data[index]["image"].numpy() for data in [open_data(tmp_path, "train")] for index in range(4)])
    mean, std = (
        [float(f"{value:.4g}") for value in values] for values in (train.mean((0, 2, 3)), train.std((0, 2, 3)))
    )
    assert yaml.safe_load(capsys.readouterr().out.split("model.encoder: ")[1].splitlines()[0]) == {
        "mean": pytest.approx(mean, rel=1e-3),
        "std": pytest.approx(std, rel=1e-3),
    }
    assert main(["fit", "--config", str(config), "--output", str(tmp_path / "runs")]) == 0
    run = tmp_path / "runs" / "five" / "version_0"
    assert main(["validate", "--config", str(config), "--ckpt_path", str(run)]) == 0
    trained = load_model(run)
    assert next(trained.model.encoder.body.parameters()).shape[1] == CHANNELS
    pixels = torch.from_numpy(read_raster(image, CHANNELS)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = infer_labels(trained.logits, pixels, trained.inference)[0].numpy()
    predicted = tmp_path / "predicted"
    arguments = ["--checkpoint", str(run), "--images", str(image.parent), "--output", str(predicted)]
    assert main(["predict", *arguments, "--overlay", "--panels"]) == 0
    mask = predicted / f"{image.relative_to(image.parent).with_suffix('.png')}"
    np.testing.assert_array_equal(np.array(Image.open(mask)), np.array([1, 2, 7])[expected])
    with rasterio.open(mask) as file, rasterio.open(image) as original:
        assert (file.crs, file.transform) == (original.crs, original.transform)
    assert main(["predict", *arguments, "--overlay", "--panels", "--resume"]) == 0
    slim = tmp_path / "five.safetensors"
    assert (
        main(["export", "--checkpoint", str(run), "--format", "slim", "--output", str(slim), "--images", str(image)])
        == 0
    )
    assert explain(slim, image, (3, 4)).image.shape == (40, 56, 3)
    capsys.readouterr()

    Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save(tmp_path / "rgb.png")
    arguments = ["--checkpoint", str(slim), "--images", str(tmp_path / "rgb.png"), "--output", str(tmp_path / "rgb")]
    assert main(["predict", *arguments]) == 1
    assert "it has 3 channels, but `channels` is 5" in capsys.readouterr().err
    assert main(["fit", "--config", str(config), "--data.channels", "4", "--output", str(tmp_path / "runs")]) == 1
    assert "it has 5 channels, but `channels` is 4" in capsys.readouterr().err
    rgb = ["--data.channels", "null", "--model.encoder.mean", "null", "--model.encoder.std", "null"]
    assert main(["validate", "--config", str(config), "--ckpt_path", str(run), *rgb]) == 1
    assert "The checkpoint is for images of 5 channels, but the data has 8-bit RGB" in capsys.readouterr().err
