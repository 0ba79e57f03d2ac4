"""Exact pixel values, in the real layouts and on the real files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from segattn.data import ADE20K, CamVid, Cityscapes, SegmentationDataset
from segattn.data.errors import DataError, DataNotFoundError
from segattn.sample import IGNORE_INDEX
from tests.data import layouts

DATASETS = [(CamVid, layouts.camvid), (ADE20K, layouts.ade20k), (Cityscapes, layouts.cityscapes)]


def labels_of(mask: torch.Tensor) -> list[int]:
    """The values of the four quarters of a mask that is constant in each."""
    height, width = mask.shape
    parts = (mask[: height // 2, : width // 2], mask[: height // 2, width // 2 :])
    parts += (mask[height // 2 :, : width // 2], mask[height // 2 :, width // 2 :])
    assert all((part == part[0, 0]).all() for part in parts)
    return [int(part[0, 0]) for part in parts]


@pytest.mark.parametrize(("dataset", "make"), DATASETS)
def test_a_sample_is_the_whole_image_with_its_mask(tmp_path: Path, dataset: type, make: object) -> None:
    data: SegmentationDataset = dataset(make(tmp_path), "val")  # type: ignore[operator]
    assert len(data) == 3
    for index in range(3):
        sample = data[index]
        assert sample["image"].shape == (3, *layouts.PHOTO_SIZE)
        assert sample["image"].dtype == torch.float32
        assert sample["mask"].dtype == torch.int64
        assert 0 <= sample["image"].min() < 0.2 < 0.8 < sample["image"].max() <= 1
        assert "instances" not in sample
    assert len({data[index]["name"] for index in range(3)}) == 3


def test_camvid(tmp_path: Path) -> None:
    data = CamVid(layouts.camvid(tmp_path), "train")
    assert data[1]["name"] == "0001TP_000001.jpg"
    assert labels_of(data[1]["mask"]) == [0, 2, 10, IGNORE_INDEX]
    assert data.classes.names[:2] == ("sky", "building")
    assert data.classes.names[10] == "bicyclist"
    assert data.classes.palette[8].tolist() == [64, 0, 128]


def test_ade20k(tmp_path: Path) -> None:
    data = ADE20K(layouts.ade20k(tmp_path), "train")
    assert data[2]["name"] == "ADE_train_00000003.jpg"
    assert labels_of(data[2]["mask"]) == [IGNORE_INDEX, 0, 149, 2]
    assert data.classes.label_ids == tuple(range(1, 151))
    assert len(data.classes.things) == 100
    assert [data.classes.names[index] for index in (0, 2, 12, 149)] == [
        "wall",
        "sky",
        "person, individual, someone, somebody, mortal, soul",
        "flag",
    ]
    assert [info.thing for info in data.classes.classes[:8]] == [False] * 7 + [True]


def test_ade20k_instances(tmp_path: Path) -> None:
    data = ADE20K(layouts.ade20k(tmp_path, instances=True), "val", instances=True)
    assert labels_of(data[0]["instances"]) == [0, 0, 7, 0]
    assert data[0]["instances"].dtype == torch.int64


def test_cityscapes(tmp_path: Path) -> None:
    data = Cityscapes(layouts.cityscapes(tmp_path), "val", instances=True)
    assert data[0]["name"] == "aachen/aachen_000000_000019_leftImg8bit.png"
    np.testing.assert_array_equal(data[0]["image"].mul(255).round().permute(1, 2, 0), layouts.photo(0))
    assert labels_of(data[0]["mask"]) == [0, 13, 18, IGNORE_INDEX]
    assert labels_of(data[0]["instances"]) == [0, 26001, 0, 0]


def test_the_cityscapes_table_is_the_official_one(tmp_path: Path) -> None:
    from cityscapesscripts.helpers.labels import labels

    classes = Cityscapes(layouts.cityscapes(tmp_path)).classes
    official = sorted((label for label in labels if 0 <= label.trainId < 255), key=lambda label: label.trainId)
    assert [(label.name, label.color, label.id, label.hasInstances) for label in official] == [
        (info.name, info.color, info.label_id, info.thing) for info in classes.classes
    ]


def test_every_official_cityscapes_label_is_read(tmp_path: Path) -> None:
    from cityscapesscripts.helpers.labels import labels

    root = layouts.cityscapes(tmp_path, {"val": 1})
    path = next(root.rglob("*_labelIds.png"))
    layouts.save(path, np.array([[label.id % 256 for label in labels]], dtype=np.uint8))
    mask = Cityscapes(root, "val").read_mask(path)
    assert mask.tolist() == [[label.trainId % 256 for label in labels]]


@pytest.mark.parametrize(("dataset", "make"), DATASETS)
def test_predictions_go_back_to_the_files_own_labels(tmp_path: Path, dataset: type, make: object) -> None:
    data: SegmentationDataset = dataset(make(tmp_path))  # type: ignore[operator]
    from segattn.data.label_files import read_labels

    for pair in data.pairs:
        indices, labels = data.read_mask(pair.mask), read_labels(pair.mask)
        valid = indices != IGNORE_INDEX
        assert valid.any()
        np.testing.assert_array_equal(data.classes.to_label_ids(indices[valid]), labels[valid])


@pytest.mark.parametrize(("dataset", "make"), DATASETS)
def test_missing_data_says_where_what_and_how(tmp_path: Path, dataset: type, make: object) -> None:
    with pytest.raises(DataNotFoundError, match=r"No data found in /.*nowhere.*: expected .*png") as caught:
        dataset(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
    assert "http" in str(caught.value) or "prepare_" in str(caught.value)
    root = make(tmp_path)  # type: ignore[operator]
    for pair in dataset(root).pairs:
        pair.image.unlink()
    with pytest.raises(DataNotFoundError, match="No data found in"):
        dataset(root)
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'dev'"):
        dataset(root, "dev")


@pytest.mark.parametrize(("dataset", "make"), DATASETS)
def test_an_image_without_labels_is_found_at_once(tmp_path: Path, dataset: type, make: object) -> None:
    root = make(tmp_path)  # type: ignore[operator]
    dataset(root).pairs[1].mask.unlink()
    with pytest.raises(DataError, match="1 label files are missing, the first is"):
        dataset(root)


def test_image_and_mask_of_different_sizes_are_named(tmp_path: Path) -> None:
    data = CamVid(layouts.camvid(tmp_path))
    layouts.save(data.pairs[0].mask, layouts.quarters([0, 1, 2, 3], (24, 30)))
    with pytest.raises(DataError, match=r"0001TP_000000\.jpg is 32x24 pixels but its label file .*\.png is 30x24"):
        data[0]


def test_labels_outside_the_table_are_named(tmp_path: Path) -> None:
    data = ADE20K(layouts.ade20k(tmp_path))
    layouts.save(data.pairs[0].mask, layouts.quarters([0, 1, 151, 255]))
    with pytest.raises(DataError, match=r"ADE_train_00000001\.png holds values .*: 151, 255\.$"):
        data[0]


@pytest.mark.parametrize(
    ("dataset", "folder", "counts"),
    [(CamVid, "camvid", (367, 101)), (ADE20K, "ADEChallengeData2016", (3, 13))],
)
def test_the_real_files(shared_data: Path, dataset: type, folder: str, counts: tuple[int, int]) -> None:
    from PIL import Image

    for split, count in zip(("train", "val"), counts, strict=True):
        data: SegmentationDataset = dataset(shared_data / folder, split)
        assert len(data) == count
        sample = data[count // 2]
        pair = data.pairs[count // 2]
        stored = np.array(Image.open(pair.mask)).astype(np.int64)
        expected = np.where(stored == 0, 256, stored) - 1 if dataset is ADE20K else np.where(stored == 11, 255, stored)
        np.testing.assert_array_equal(sample["mask"], expected)
        assert sample["image"].shape[1:] == sample["mask"].shape


def test_the_ade20k_table_is_that_of_the_real_files(shared_data: Path) -> None:
    import json

    official = json.loads((shared_data / "ADEChallengeData2016" / "classes150.json").read_text())
    classes = ADE20K(shared_data / "ADEChallengeData2016").classes.classes
    assert [(entry["name"].strip(), tuple(entry["color"]), entry["id"]) for entry in official] == [
        (info.name, info.color, info.label_id) for info in classes
    ]
