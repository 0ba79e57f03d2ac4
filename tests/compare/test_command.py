import base64
import io
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from segattn import cli
from segattn.report import load_runs, run_scores
from segattn.report.scores import FOUND_MEASURES
from segattn.training.command import main as train
from tests.report.records import named, write_record

CONFIG = {
    "data": {
        "class_path": "ShapesDataModule",
        "init_args": {
            **{"root": "shapes", "image_size": 64, "num_train": 4, "num_val": 3, "crop_size": [32, 32]},
            **{"batch_size": 2, "num_workers": 0},
        },
    },
    "model": {
        "encoder": {"name": "tu-test_resnet", "weights": None, "output_stride": 8},
        "head": {"class_path": "FCNHead", "init_args": {"channels": 8, "stage3_channels": 8}},
    },
    "trainer": {
        **{"max_steps": 2, "accelerator": "cpu", "num_sanity_val_steps": 0},
        **{"enable_progress_bar": False, "enable_model_summary": False},
    },
}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A run that was trained and validated, and a copy of it in another folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(CONFIG))
    assert train(["fit", "--config", "one.yaml"]) == 0
    assert train(["validate", "--config", "one.yaml", "--ckpt_path", "best"]) == 0
    shutil.copytree("runs/one/version_0", "runs/one/version_7")
    return tmp_path / "runs" / "one"


def assert_scores_are_logged(runs):
    """The record reproduces every logged score, to the last digit of a float32."""
    run = load_runs([runs / "version_0"]).runs[0]
    scores, bins = run_scores(run)
    found = {key: getattr(scores, key) for key in ("miou", "mean_accuracy", "pixel_accuracy")}
    found |= {measure: getattr(scores, measure)[0] for measure in FOUND_MEASURES}
    found |= {f"iou/{name}": value for name, value in zip(run.info.class_names, scores.iou, strict=True)}
    for b, name in enumerate(run.info.bucket_names):
        found |= {f"{measure}_{name}": getattr(scores, measure)[b + 1] for measure in FOUND_MEASURES}
        found |= {f"miou_{name}": scores.bucket_miou[b], f"mrecall_{name}": scores.bucket_mrecall[b]}
        found |= {
            f"classes_{name}": bins.bucket_supported[:, b].sum(),
            f"objects_{name}": bins.bucket_objects[:, b].sum(),
        }
    logged = pd.read_csv(runs / "version_0" / "validate" / "metrics.csv").iloc[-1]
    found = {f"val/{key}": np.float32(value) for key, value in found.items() if f"val/{key}" in logged}
    assert len(found) >= 16
    assert found == {key: np.float32(logged[key]) for key in found}


def test_trained_runs_are_compared_with_text_and_pictures(runs, capsys):
    assert_scores_are_logged(runs)
    arguments = ["compare", str(runs / "version_0"), str(runs / "version_7"), "--output", "out", "--resamples", "20"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    files = "scores.csv, curve.csv, classes.csv, found.csv, found_curve.csv, errors.csv"
    assert f"wrote out/index.html and {files} in the same folder" in printed
    assert "95 % interval): no clear difference overall" in printed
    assert "note:" not in printed
    html = (runs.parents[1] / "out" / "index.html").read_text(encoding="utf-8")
    assert "tu-test_resnet" in html  # the config
    assert "<dt>torch</dt>" in html
    labels = re.findall(r"<figcaption>(image|ground truth|one/version_0 in [^<:]*)</figcaption>", html)
    models = [f"one/version_0 in {runs / name}" for name in ("version_0", "version_7")]
    assert labels[:4] == ["image", "ground truth", *models]
    pictures = re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    assert len(pictures) == len(labels) >= 4
    first = np.array(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    assert first.shape == (128, 128, 3)
    scores = pd.read_csv(runs.parents[1] / "out" / "scores.csv")
    assert set(scores["name"]) == set(labels[2:4])
    assert "objects found in percent, false alarms per image" in printed
    assert "mIoU lost by kind of error, in points" in printed
    curve = pd.read_csv(runs.parents[1] / "out" / "found_curve.csv")
    assert curve["recall"].nunique() == 20

    image = next((runs.parents[1] / "shapes").rglob("images/val/*.png"))
    content = image.read_bytes()
    image.write_bytes(content[:100])
    assert cli.main(arguments) == 0
    assert f"Objects of {image.name} are not shown: " in capsys.readouterr().out
    image.write_bytes(content)
    shutil.rmtree(runs / "version_7" / "checkpoints")
    assert cli.main(arguments) == 0
    assert f"{runs / 'version_7'} are not shown: There is no checkpoint" in capsys.readouterr().out
    shutil.rmtree("shapes")
    assert cli.main(arguments) == 0
    assert "/version_0 cannot be read: there is no folder" in capsys.readouterr().out


def test_records_without_data_and_checkpoints(tmp_path, capsys):
    paths = [str(write_record(tmp_path / name / "objects_val.parquet", images=3, **named(name))) for name in "ab"]
    assert cli.main(["compare", *paths, "--output", str(tmp_path / "out"), "--resamples", "20"]) == 0
    reason = f"the data of a/version_0 cannot be read: there is no {tmp_path / 'a' / 'config.yaml'}"
    assert f"There are no pictures because {reason}." in capsys.readouterr().out
    options = ["--resamples", "20", "--no-pictures", "--baseline", "b", "--level", "0.5"]
    assert cli.main(["compare", *paths, "--output", str(tmp_path / "out"), *options]) == 0
    assert "a compared with b" in capsys.readouterr().out


def test_one_image_gives_scores_but_no_verdict(tmp_path, capsys):
    qualities = {"a": 0.9, "b": 0.0}
    paths = [
        str(write_record(tmp_path / name / "objects_val.parquet", images=1, lost=lost, **named(name)))
        for name, lost in qualities.items()
    ]
    assert cli.main(["compare", *paths, "--output", str(tmp_path / "out"), "--no-pictures"]) == 0
    printed = capsys.readouterr().out
    assert "With one image there are no intervals, so no run can be called better or worse." in printed
    assert "nan" not in printed
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert scores["score"].notna().any()
    assert scores[["score_low", "difference_low", "p", "p_adjusted", "result", "adjusted_result"]].isna().all(axis=None)


def test_user_errors_are_one_sentence(tmp_path, capsys):
    one = write_record(tmp_path / "one.parquet", images=2)
    two = write_record(tmp_path / "two.parquet", images=2, edges=(9, 99))
    assert cli.main(["compare", str(one), str(two), "--output", str(tmp_path / "out")]) == 1
    assert "the size edges differ: 400 and 9" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
