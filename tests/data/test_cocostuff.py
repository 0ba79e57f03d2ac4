"""COCO-Stuff: both kinds of label files, the values that do not occur, and the real files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from segattn.check.data_check import check_data
from segattn.data import COCOStuff, COCOStuffDataModule
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


def test_release_10k_reads_matlab_files(tmp_path: Path) -> None:
    data = COCOStuff(layouts.cocostuff10k(tmp_path), "val", release="10k")
    assert [pair.name for pair in data.pairs] == [f"COCO_train2014_00000000{index}.jpg" for index in range(1000, 1003)]
    assert labels_of(data[0]["mask"]) == [IGNORE_INDEX, 0, 170, 11]
    assert data.classes.names[11] == "stop sign"
    module = COCOStuffDataModule(str(tmp_path), release="10k", num_workers=0)
    report = check_data(module)
    assert not report.errors
    assert report.splits["val"].pixels[[0, 11, 170, -1]].tolist() == [576] * 4
    for path, content in ((data.pairs[1].mask, {"S": np.full((24, 32), 300)}), (data.pairs[2].mask, {"labels": 1})):
        savemat(path, content)
        with pytest.raises(DataError, match=rf"^The label file {path} is damaged, or does not belong to this data"):
            data[data.pairs.index(next(pair for pair in data.pairs if pair.mask == path))]
    assert len(check_data(module, splits=["val"]).errors) == 1


def test_release_10k_reads_converted_files(tmp_path: Path) -> None:
    """OpenMMLab sorts the images, and writes class indices plus 1."""
    for part in ("train2014", "test2014"):
        layouts.save(tmp_path / "images" / part / "COCO_train2014_000000000009.jpg", layouts.photo(9))
        layouts.save(
            tmp_path / "annotations" / part / "COCO_train2014_000000000009_labelTrainIds.png",
            layouts.quarters([0, 1, 171, 12]),
        )
    for split in ("train", "val"):
        data = COCOStuff(tmp_path, split, release="10k")
        data.require_files()
        assert labels_of(data[0]["mask"]) == [IGNORE_INDEX, 0, 170, 11]
    with pytest.raises(ValueError, match=r"^release must be one of 164k, 10k, got '164'\.$"):
        COCOStuff(tmp_path, release="164")


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
