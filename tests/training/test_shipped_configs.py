"""Every shipped config trains two steps and validates once, on tiny data in the real layout of its data set."""

import pytest
import torch

from segattn.checkpoints import load_model
from segattn.io.config_files import SHIPPED
from segattn.training.command import main
from tests.data import layouts

NAMES = sorted(path.name for path in SHIPPED.glob("*.yaml"))
TINY_RUN = [
    *("--model.encoder.weights", "null", "--data.crop_size", "[32,32]", "--data.batch_size", "2"),
    *("--data.val_batch_size", "1", "--data.num_workers", "0"),
    *("--trainer.max_steps", "2", "--trainer.limit_val_batches", "1", "--trainer.num_sanity_val_steps", "0"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.accelerator", "cpu", "--output", "runs"),
]


def data_arguments(name, folder):
    """A tiny data set for a config, and how often to validate on it."""
    make = {"ade20k": layouts.ade20k, "cityscapes": layouts.cityscapes, "camvid": layouts.camvid}.get(
        name.split("_")[0]
    )
    if make is None:  # the built-in shapes, drawn into the user's cache
        return SMALL_SHAPES
    options = {
        "ade20k": ["--trainer.val_check_interval", "2", "--data.size_rule.short_side", "40"],
        "cityscapes": ["--trainer.val_check_interval", "2"],
    }.get(name.split("_")[0], [])
    return ["--data.root", str(make(folder / "data", size=(40, 56))), *options]


SMALL_SHAPES = ["--data.image_size", "48", "--data.num_train", "4", "--data.num_val", "2"]


@pytest.mark.parametrize("name", NAMES)
def test_shipped_config_trains_validates_and_saves(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["fit", "--config", name, *TINY_RUN, *data_arguments(name, tmp_path)]) == 0
    assert "miou" in capsys.readouterr().out
    run = tmp_path / "runs" / name.removesuffix(".yaml") / "version_0"
    trained = load_model(run / "checkpoints" / "best.ckpt")
    assert (run / "config.yaml").is_file()
    assert (run / "metrics.csv").is_file()
    with torch.inference_mode():
        assert trained.model(torch.rand(1, 3, 33, 47)).logits.shape == (1, len(trained.classes), 33, 47)
