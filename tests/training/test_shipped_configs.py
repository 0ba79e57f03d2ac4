"""Every shipped config trains two steps and validates once, on tiny data in the real layout of its data set."""

import pytest
import torch

from segattn.checkpoints import load_model
from segattn.io.config_files import SHIPPED
from segattn.training.command import main
from tests.data import layouts

ALIKE = ("cocostuff", "context", "isaid", "loveda", "potsdam", "vaihingen", "voc")
"""Data sets whose recipes are those of ADE20K with another base config; one recipe of each is trained."""

NAMES = sorted(path.name for path in SHIPPED.glob("*.yaml"))
TRAINED = [name for name in NAMES if not name.startswith(ALIKE) or name.endswith("_fla.yaml")]
TINY_RUN = [
    *("--model.encoder.weights", "null", "--data.crop_size", "[32,32]", "--data.batch_size", "2"),
    *("--data.val_batch_size", "1", "--data.num_workers", "0"),
    *("--trainer.max_steps", "2", "--trainer.limit_val_batches", "1", "--trainer.num_sanity_val_steps", "0"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    *("--trainer.accelerator", "cpu", "--output", "runs"),
]


def data_arguments(name, folder):
    """A tiny data set for a config, and how often to validate on it."""
    make = getattr(layouts, name.split("_")[0], None)
    if make is None:  # the built-in shapes, drawn into the user's cache
        return ["--data.image_size", "56", "--data.num_train", "4", "--data.num_val", "2", "--data.num_test", "0"]
    options = ["--data.root", str(make(folder / "data", size=(40, 56)))]
    if not name.startswith("camvid"):
        options += ["--trainer.val_check_interval", "2"]
    if name.startswith(("ade20k", *ALIKE)):
        options += ["--data.size_rule.short_side", "40"]
    if not name.startswith("camvid") and name != "ade20k_danet.yaml":  # of the large encoders, one is enough
        options += ["--model.encoder.name", "tu-test_resnet"]
    return options


@pytest.mark.parametrize("name", TRAINED)
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


@pytest.mark.parametrize("head", ["danet", "fcn", "fla", "scsa"])
@pytest.mark.parametrize("data", ALIKE)
def test_recipes_of_a_head_differ_only_in_the_base_config(data, head):
    recipe, known = ((SHIPPED / f"{name}_{head}.yaml").read_text() for name in (data, "ade20k"))
    assert recipe == known.replace("base/ade20k.yaml", f"base/{data}.yaml")
