"""Scoring the masks that ``segattn predict`` wrote gives the record of ``segattn validate``."""

import numpy as np
import pandas as pd
import pytest
import yaml

from segattn.cli import main
from segattn.objects import read_record
from segattn.predict import Settings, predict_folder
from segattn.report import load_runs
from segattn.score import score_folder
from tests.data import layouts
from tests.training.tiny_run import run_folder, write_config


def rows(path):
    """The rows of a record, with lists that pandas can compare."""
    frame = read_record(path).rows
    for name in ("confused_class", "confused_px"):
        frame[name] = frame[name].map(list)
    return frame


def test_the_record_equals_that_of_validate(tmp_path):
    config, data = write_config(tmp_path), tmp_path / "data"
    masks, validated = fit_validate_predict(tmp_path, config, data / "images/val")
    options = {"classes": "camvid", "images": data / "images/val"}
    report = score_folder(data / "annotations/val", masks, tmp_path / "score.parquet", **options)
    assert report.images == 5
    assert len(load_runs([validated, report.record]).images) == 5
    assert_same_record(report.record, validated)


@pytest.mark.parametrize("name", ["ade20k", "cityscapes"])
def test_instances_give_the_record_of_validate(tmp_path, name):
    """Random instance ids on random label files, so that instances are neither components nor connected."""
    config, data = write_config(tmp_path), tmp_path / name
    if name == "ade20k":
        layouts.ade20k(data, {"training": 4, "validation": 3}, size=(40, 56), instances=True)
        folders = {"truth": "annotations", "instances": "annotations_instance", "images": "images"}
        folders, module = {key: data / path / "validation" for key, path in folders.items()}, "ADE20KDataModule"
    else:
        layouts.cityscapes(data, {"train": 4, "val": 3}, size=(40, 56))
        folders = {"truth": "gtFine", "instances": "gtFine", "images": "leftImg8bit"}
        folders, module = {key: data / path / "val" for key, path in folders.items()}, "CityscapesDataModule"
    random = np.random.default_rng(0)
    labels = [path for path in folders["truth"].rglob("*.png") if not path.stem.endswith(("_color", "_instanceIds"))]
    for path in labels:
        blocks = random.choice([0, 7, 24, 26] if name == "cityscapes" else [0, 1, 13, 150], (8, 8))
        labels = blocks.repeat(5, 0).repeat(7, 1)
        number = random.integers(0, 4, (10, 14)).repeat(4, 0).repeat(4, 1)
        layouts.save(path, labels.astype(np.uint8))
        if name == "ade20k":
            maps = np.stack([labels, number, number], -1).astype(np.uint8)
            layouts.save(folders["instances"] / path.name, maps)
        else:
            maps = np.where((labels > 7) & (number > 0), labels * 1000 + number, labels)
            layouts.save(path.with_name(path.name.replace("labelIds", "instanceIds")), maps.astype(np.uint16))
    content = yaml.safe_load(config.read_text())
    content["data"] |= {"class_path": module}
    content["data"]["init_args"] |= {"root": str(data), "instances": True, "size_rule": {"short_side": 40}}
    config.write_text(yaml.safe_dump(content))
    masks, validated = fit_validate_predict(tmp_path, config, folders["images"])
    report = score_folder(folders.pop("truth"), masks, tmp_path / "score.parquet", classes=name, **folders)
    assert report.images == 3
    assert read_record(report.record).info.unit == "instance"
    assert_same_record(report.record, validated)


def fit_validate_predict(folder, config, images):
    """The masks of a model, and its record."""
    runs = str(folder / "runs")
    assert main(["fit", "--config", str(config), "--output", runs, "--trainer.max_epochs", "1"]) == 0
    checkpoint = run_folder(runs) / "checkpoints" / "last.ckpt"
    assert main(["validate", "--config", str(config), "--ckpt_path", str(checkpoint), "--output", runs]) == 0
    predict_folder(checkpoint, images, folder / "masks", settings=Settings(progress=False))
    (validated,) = (folder / "runs").rglob("objects_val.parquet")
    return folder / "masks", validated


def assert_same_record(scored, validated):
    pd.testing.assert_frame_equal(rows(scored), rows(validated))
    one, two = read_record(scored).info, read_record(validated).info
    for key in ("class_names", "edges", "bucket_names", "relative", "unit", "min_objects", "things"):
        assert getattr(one, key) == getattr(two, key)
