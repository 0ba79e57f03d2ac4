"""scripts/study_attention.py measures how much of the attention of an object is around the marker of its class."""

from types import SimpleNamespace

import numpy as np
import pytest
import study_attention
from PIL import Image

from segattn.attention import PositionAttention
from segattn.checkpoints import TrainedModel, save_model
from segattn.data.controlled_shapes import CLASSES
from segattn.inference import InferenceConfig
from tests.checkpoints.saved import lively_model


@pytest.mark.parametrize("label", [1, 2])
def test_scenes(label):
    for scene in study_attention.scenes(label, 10):
        x, y = scene.marker
        red, _, blue = scene.image[y, x].astype(int)
        assert (red - blue > 50, blue - red > 50) == (label == 1, label == 2)
        x, y = scene.point
        assert np.ptp(scene.image[y, x].astype(int)) == 0  # objects are gray
        assert scene.image[y, x].mean() > 160
        assert scene.label == label


def test_neighborhood():
    near = study_attention.neighborhood((63, 20), (8, 8))  # (x, y), of 64x64 pixels
    assert np.argwhere(near).tolist() == [[row, column] for row in (1, 2, 3) for column in (6, 7)]
    near = study_attention.neighborhood((17, 0), (16, 8))  # cells of 4x8 pixels
    assert np.argwhere(near).tolist() == [[row, column] for row in (0, 1) for column in (1, 2, 3)]


def test_share_near_the_marker(monkeypatch):
    def at_the_marker(model, image, point):
        (scene,) = (each for each in study_attention.scenes(2, 5) if np.array_equal(each.image, image))
        attention = np.full((8, 8), 0.25 / 63)
        attention[scene.marker[1] // 8, scene.marker[0] // 8] = 0.75
        return SimpleNamespace(views=[SimpleNamespace(maps={"attends to": attention})])

    monkeypatch.setattr(study_attention, "explain", at_the_marker)
    shares = study_attention.near_marker(None, 2, 5)
    neighbors = [study_attention.neighborhood(each.marker, (8, 8)).sum() - 1 for each in study_attention.scenes(2, 5)]
    np.testing.assert_allclose(shares, [0.75 + 0.25 / 63 * number for number in neighbors])


def test_picture_and_table(tmp_path, capsys):
    for seed in (2, 10):
        model = lively_model(classes=CLASSES, attention=PositionAttention, seed=seed)
        path = tmp_path / f"seed_{seed}/position/version_0/checkpoints/best.ckpt"
        path.parent.mkdir(parents=True)
        save_model(TrainedModel(model, CLASSES, InferenceConfig()), path)
    study_attention.main(["--runs", str(tmp_path), "--images", "2", "--output", str(tmp_path / "picture.png")])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("|")]
    assert [row[0].strip() for row in rows] == ["seed", "---", "2", "10"]
    assert all(0 <= float(cell) <= 1 for row in rows[2:] for cell in row[1:])
    assert lines[-1].startswith("equal attention everywhere: 0.")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (900, 260)


def test_no_run(tmp_path, capsys):
    with pytest.raises(SystemExit):
        study_attention.main(["--runs", str(tmp_path)])
    assert f"{tmp_path} contains no run seed_N/position" in capsys.readouterr().err
