"""COCO-Stuff 164k: both kinds of label files, the values that do not occur, and the real files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn.data import COCOStuff
from segattn.data.errors import DataError
from segattn.sample import IGNORE_INDEX
from tests.data import layouts
from tests.data.test_datasets import labels_of

ABSENT = [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90]


def test_original_values_become_171_classes(tmp_path: Path) -> None:
    data = COCOStuff(layouts.cocostuff(tmp_path))
    assert labels_of(data[0]["mask"]) == [0, 80, 170, IGNORE_INDEX]
    assert data.classes.label_ids == tuple(value for value in range(182) if value not in ABSENT)
    assert data.classes.things == tuple(range(80))
    assert [data.classes.names[index] for index in (0, 11, 79, 80, 170)] == [
        *("person", "stop sign", "toothbrush", "banner", "wood")
    ]


def test_files_of_class_indices_are_read_where_only_they_exist(tmp_path: Path) -> None:
    root = layouts.cocostuff(tmp_path)
    for pair in COCOStuff(root).pairs:
        layouts.save(pair.mask.with_name(f"{pair.mask.stem}_labelTrainIds.png"), layouts.quarters([11, 91, 170, 255]))
    assert labels_of(COCOStuff(root)[0]["mask"]) == [0, 80, 170, IGNORE_INDEX]
    for pair in COCOStuff(root).pairs:
        pair.mask.unlink()
    data = COCOStuff(root)
    assert data[1]["name"] == "000000000001.jpg"
    assert labels_of(data[1]["mask"]) == [11, 91, 170, IGNORE_INDEX]
    data.pairs[2].mask.unlink()
    with pytest.raises(DataError, match=r"^1 label files are missing, for example .*000000000002_labelTrainIds\.png"):
        COCOStuff(root).require_files()


@pytest.mark.parametrize("value", [*ABSENT, 182])
def test_values_of_other_label_files_are_reported(tmp_path: Path, value: int) -> None:
    """Class indices without their suffix contain 11; values that count from 1 (``labels.txt``) contain 182."""
    data = COCOStuff(layouts.cocostuff(tmp_path))
    layouts.save(data.pairs[0].mask, layouts.quarters([0, 1, value, 255]))
    with pytest.raises(DataError, match=rf"neither a class nor ignored: {value}\.$"):
        data[0]


def test_the_real_files(shared_data: Path, tmp_path: Path) -> None:
    for kind in ("images", "annotations"):
        (tmp_path / kind).mkdir()
        for part in ("train", "val"):
            (tmp_path / kind / f"{part}2017").symlink_to(shared_data / "cocostuff" / kind / part)
    seen = 0
    for split in ("train", "val"):
        data = COCOStuff(tmp_path, split)
        data.require_files()
        for index, pair in enumerate(data.pairs):
            stored, mask = np.array(Image.open(pair.mask)), data.read(index).mask
            np.testing.assert_array_equal(mask == IGNORE_INDEX, stored == 255)
            valid = mask < IGNORE_INDEX
            np.testing.assert_array_equal(data.classes.to_label_ids(mask[valid]), stored[valid])
            seen += 1
    assert seen == 24
    train = COCOStuff(tmp_path)
    (index,) = [index for index, pair in enumerate(train.pairs) if pair.name == "000000017914.jpg"]
    values, counts = np.unique(train.read(index).mask, return_counts=True)
    names = [train.classes.names[value] for value in values[:-1]]
    assert dict(zip(names, counts.tolist(), strict=False)) == {
        **{"person": 15963, "cat": 82416, "bed": 34758, "laptop": 19009, "textile-other": 597}
    }
