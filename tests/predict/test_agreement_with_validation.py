"""What ``segattn predict`` writes is what ``segattn validate`` scores, bit for bit, for every option of inference."""

import numpy as np
import pytest

from segattn.cli import main
from segattn.predict import Settings, predict_folder
from segattn.training.task import SegmentationTask
from tests.predict.conftest import mask
from tests.training.tiny_run import run_folder, write_config

OPTIONS = {
    "default": ([], {}),
    "size rule": (["--data.size_rule.short_side", "50"], {"short_side": 50}),
    "window": (["--inference.window", "[24, 32]"], {"window": (24, 32)}),
    "stride": (
        ["--inference.window", "[24, 24]", "--inference.stride", "[10, 24]"],
        {"window": (24, 24), "stride": (10, 24)},
    ),
    "whole image weight": (
        ["--inference.window", "[24, 24]", "--inference.whole_image_weight", "0.4"],
        {"window": (24, 24), "whole_image_weight": 0.4},
    ),
    "scales": (["--inference.scales", "[0.5, 1.0, 1.75]"], {"scales": (0.5, 1.0, 1.75)}),
    "flip": (["--inference.flip", "true"], {"flip": True}),
    "precision": (["--inference.precision", "bf16"], {"precision": "bf16"}),
    "all": (
        [
            *("--data.size_rule.short_side", "50", "--inference.window", "[40, 40]", "--inference.flip", "true"),
            *("--inference.scales", "[1.0, 1.5]", "--inference.whole_image_weight", "0.4"),
        ],
        {"short_side": 50, "window": (40, 40), "flip": True, "scales": (1.0, 1.5), "whole_image_weight": 0.4},
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a data set, a config, and the checkpoint of a short training."""
    folder = tmp_path_factory.mktemp("agreement")
    config = write_config(folder)
    assert main(["fit", "--config", str(config), "--output", str(folder / "runs")]) == 0
    return folder, config, run_folder(folder / "runs") / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("name", OPTIONS)
def test_predicted_masks_are_the_validated_ones(trained, name, tmp_path, monkeypatch, capsys):
    folder, config, checkpoint = trained
    arguments, options = OPTIONS[name]
    validated, configs = {}, []
    step = SegmentationTask.validation_step

    def watched(self, batch, batch_idx):
        labels = step(self, batch, batch_idx)
        validated.update(zip(batch["name"], labels.numpy(), strict=True))
        configs.append(self.inference)
        return labels

    monkeypatch.setattr(SegmentationTask, "validation_step", watched)
    validate = ["validate", "--config", str(config), "--ckpt_path", str(checkpoint), "--output", str(tmp_path)]
    assert main([*validate, *arguments]) == 0
    assert f"Inference: {configs[0].description}." in capsys.readouterr().out
    settings = Settings(progress=False)
    report = predict_folder(checkpoint, folder / "data/images/val", tmp_path, ids="train", settings=settings, **options)
    assert report.masks.keys() == validated.keys()
    assert any(len(np.unique(labels)) > 1 for labels in validated.values())
    for image, path in report.masks.items():
        np.testing.assert_array_equal(mask(path), validated[image])
