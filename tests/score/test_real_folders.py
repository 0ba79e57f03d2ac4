"""Real label files against themselves and against shifted copies, in the values that their data sets use."""

import numpy as np
import pytest
from PIL import Image

from segattn.objects import read_record
from segattn.score import score_folder

SETS = {  # folder, classes (or the values of the classes, and those that are ignored)
    "camvid/annotations/val": "camvid",
    "ADEChallengeData2016/annotations/validation": "ade20k",
    "cocostuff/annotations/val": (range(182), 255),
    "LoveDA/Val/Rural/masks_png": (range(1, 8), 0),
    "VOCdevkit/VOC2012/SegmentationClassAug": (range(21), 255),
}
VALUES = {"camvid": (range(11), 11), "ade20k": (range(1, 151), 0)}


def read(path):
    with Image.open(path) as image:
        return np.array(image)


@pytest.mark.parametrize("folder", SETS)
def test_real_label_files(shared_data, tmp_path, folder):
    values, ignored = VALUES.get(SETS[folder], SETS[folder])
    classes = SETS[folder]
    if not isinstance(classes, str):
        classes = tmp_path / "classes.yaml"
        lines = [f"- {{name: class {value}, label: {value}}}" for value in values]
        classes.write_text("\n".join([f"ignore: [{ignored}]", "classes:", *lines]))
    truth, masks, expected = tmp_path / "truth", tmp_path / "masks", np.zeros((len(values), 3), dtype=int)
    truth.mkdir(), masks.mkdir()
    for path in sorted((shared_data / folder).glob("*.png"))[:2]:
        (truth / path.name).symlink_to(path)
        target = read(path)
        mask = np.where(target == ignored, values[0], target)
        mask = np.roll(mask, (5, -8), (0, 1))
        Image.fromarray(mask.astype(np.uint8)).save(masks / path.name)
        for index, value in enumerate(values):
            true, predicted = target == value, (mask == value) & (target != ignored)
            expected[index] += [(true & predicted).sum(), (predicted & ~true).sum(), (true & ~predicted).sum()]
    same = read_record(score_folder(truth, truth, tmp_path / "same.parquet", classes=classes).record).rows
    assert len(same)
    assert (same["kind"] == "object").all()
    assert (same["iou"] == 1).all()
    rows = read_record(score_folder(truth, masks, tmp_path / "shifted.parquet", classes=classes).record).rows
    sums = rows.groupby("class_id")[["tp", "fp", "fn"]].sum().reindex(range(len(values)), fill_value=0)
    assert sums.to_numpy().tolist() == expected.tolist()
