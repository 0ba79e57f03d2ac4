"""Scoring the masks that ``segattn predict`` wrote gives the record of ``segattn validate``."""

from pathlib import PurePosixPath

import pandas as pd

from segattn.cli import main
from segattn.objects import read_record
from segattn.predict import Settings, predict_folder
from segattn.score import score_folder
from tests.training.tiny_run import run_folder, write_config


def rows(path):
    """The rows of a record with the images named by stem."""
    frame = read_record(path).rows
    frame["image"] = [PurePosixPath(name).stem for name in frame["image"]]
    for name in ("confused_class", "confused_px"):
        frame[name] = frame[name].map(list)
    return frame


def test_the_record_equals_that_of_validate(tmp_path):
    config, runs = write_config(tmp_path), str(tmp_path / "runs")
    assert main(["fit", "--config", str(config), "--output", runs, "--trainer.max_epochs", "1"]) == 0
    checkpoint = run_folder(runs) / "checkpoints" / "last.ckpt"
    assert main(["validate", "--config", str(config), "--ckpt_path", str(checkpoint), "--output", runs]) == 0
    masks, data = tmp_path / "masks", tmp_path / "data"
    predict_folder(checkpoint, data / "images/val", masks, settings=Settings(progress=False))
    report = score_folder(data / "annotations/val", masks, tmp_path / "score.parquet", classes="camvid")
    assert report.images == 5
    (validated,) = (tmp_path / "runs").rglob("objects_val.parquet")
    pd.testing.assert_frame_equal(rows(report.record), rows(validated))
    one, two = read_record(report.record).info, read_record(validated).info
    for key in ("class_names", "edges", "bucket_names", "relative", "unit", "min_objects", "things"):
        assert getattr(one, key) == getattr(two, key)
