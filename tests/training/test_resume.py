"""Runs that are resumed: in a copied, moved or renamed folder, and after a kill."""

import shutil
from pathlib import Path

import pytest
import torch

from segattn.training.command import main
from tests.training.tiny_run import final_state, logged, run_folder, write_config

FIT = ["fit", "--config", "tiny.yaml"]


@pytest.fixture(autouse=True)
def _finished_run(tmp_path, monkeypatch):
    """A run of one epoch whose last checkpoint contains a best score that cannot be exceeded."""
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    assert main([*FIT, "--trainer.max_epochs", "1"]) == 0
    last = run_folder("runs") / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last)
    (best,) = [state for key, state in checkpoint["callbacks"].items() if "'monitor': 'val/miou'" in key]
    score = torch.tensor(2.0)
    best |= {"best_model_score": score, "kth_value": score, "best_k_models": {best["best_model_path"]: score}}
    torch.save(checkpoint, last)


@pytest.mark.parametrize("move", [shutil.copytree, shutil.move])
def test_best_checkpoint_survives_in_a_moved_or_copied_folder(recwarn, move):
    before = (run_folder("runs") / "checkpoints" / "best.ckpt").read_bytes()
    move("runs", "elsewhere/runs")
    resume = ["--trainer.max_epochs", "2", "--ckpt_path", "last"]
    assert main([*FIT, *resume, "--output", "elsewhere/runs"]) == 0
    assert (run_folder("elsewhere/runs") / "checkpoints" / "best.ckpt").read_bytes() == before
    _, score, steps = final_state("elsewhere/runs")
    assert (score, steps) == (2, 8)
    assert not [warning for warning in recwarn if "dirpath has changed" in str(warning.message)]
    if Path("runs").exists():
        assert (run_folder("runs") / "checkpoints" / "best.ckpt").read_bytes() == before


def test_new_run_from_the_checkpoint_of_another_run_has_its_own_best_checkpoint():
    given = str(run_folder("runs") / "checkpoints" / "last.ckpt")
    assert main([*FIT, "--trainer.max_epochs", "2", "--ckpt_path", given, "--output", "new"]) == 0
    assert final_state("new")[1] < 1
    assert (run_folder("new") / "checkpoints" / "best.ckpt").is_file()


def test_metrics_after_the_checkpoint_are_replaced_and_new_columns_are_added():
    complete = logged("runs", "train/loss")
    path = run_folder("runs") / "metrics.csv"
    header, row = path.read_text().splitlines()[:2]
    position = header.split(",").index("step")
    later = row.split(",")
    later[position] = "4"
    half = ",".join(row.split(",")[: position + 1])  # a process was killed while it wrote this row
    path.write_text(path.read_text() + "\n".join([",".join(later), half]))
    more = ["--trainer.max_epochs", "2", "--ckpt_path", "last", "--model.schedule.power", "0.5"]
    assert main([*FIT, *more, "--trainer.callbacks", "lightning.pytorch.callbacks.DeviceStatsMonitor"]) == 0
    assert logged("runs", "train/loss")[:4] == complete
    steps = [int(step) for step in logged("runs", "step")]
    assert steps == sorted(steps)
    assert set(steps) == set(range(8))
    assert steps.count(4) == steps.count(5)
    assert "DeviceStatsMonitor" in path.read_text().splitlines()[0]


def test_files_that_a_killed_process_left_behind_are_removed():
    folder = run_folder("runs")
    partial = folder / "checkpoints" / "partial-7-best.ckpt"
    parts = [folder / name for name in ("objects_val.rank1.parquet", "partial-7-objects_val.rank0.parquet")]
    for path in (partial, *parts):
        path.touch()
    assert main(["validate", "--config", "tiny.yaml", "--ckpt_path", "last"]) == 0
    assert partial.is_file()  # a training may be writing it
    assert [path.name for path in folder.glob("*.parquet")] == ["objects_val.parquet"]
    assert main([*FIT, "--trainer.max_epochs", "2", "--ckpt_path", "last"]) == 0
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
