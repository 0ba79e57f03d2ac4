"""Training runs of a tiny model on a few tiny images, and functions that read their output."""

import csv
from pathlib import Path

import torch
import yaml

from tests.data import layouts

STEPS_PER_EPOCH = 4


def write_config(folder):
    """A config that trains a tiny model on eight tiny images, for three epochs."""
    content = {
        "data": {
            "class_path": "CamVidDataModule",
            "init_args": {
                "root": str(layouts.camvid(folder / "data", {"train": 8, "val": 5, "test": 2}, size=(40, 56))),
                **{"crop_size": [32, 32], "batch_size": 2, "num_workers": 0},
            },
        },
        "model": {
            "encoder": {"name": "tu-test_resnet", "weights": None, "output_stride": 8},
            "head": {"class_path": "FCNHead", "init_args": {"channels": 8, "stage3_channels": 8}},
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
        },
        "trainer": {
            **{"max_epochs": 3, "accelerator": "cpu", "log_every_n_steps": 1, "num_sanity_val_steps": 0},
            **{"enable_progress_bar": False, "enable_model_summary": False},
        },
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run_folder(output, version=0):
    return Path(output) / "tiny" / f"version_{version}"


def final_state(output):
    """Weights and best score of the last checkpoint."""
    checkpoint = torch.load(run_folder(output) / "checkpoints" / "last.ckpt", weights_only=True)
    (best,) = [state for key, state in checkpoint["callbacks"].items() if "'monitor': 'val/miou'" in key]
    return checkpoint["state_dict"], float(best["best_model_score"]), checkpoint["global_step"]


def assert_same_end(one, other):
    (weights, score, steps), (other_weights, other_score, other_steps) = final_state(one), final_state(other)
    assert (score, steps) == (other_score, other_steps)
    assert all(torch.equal(value, other_weights[key]) for key, value in weights.items())


def logged(output, key, version=0):
    """Values of a key in the order of logging."""
    with (run_folder(output, version) / "metrics.csv").open() as file:
        return [float(row[key]) for row in csv.DictReader(file) if row.get(key)]


def results(output):
    """The scores that ``validate`` wrote into the folder of the run."""
    (row,) = csv.DictReader((run_folder(output) / "validate" / "metrics.csv").read_text().splitlines())
    return {key: float(value) for key, value in row.items()}
