"""Exact pixel values, on tiny data in the real layouts and on real files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from segattn.data import (
    ADE20K,
    ISAID,
    ISPRS,
    VOC,
    CamVid,
    Cityscapes,
    COCOStuff,
    LoveDA,
    PascalContext,
    SegmentationDataset,
)
from segattn.data.errors import DataError, DataNotFoundError
from segattn.sample import IGNORE_INDEX
from tests.data import layouts

DATASETS = [
    (CamVid, layouts.camvid),
    (ADE20K, layouts.ade20k),
    (Cityscapes, layouts.cityscapes),
    (VOC, layouts.voc),
    (COCOStuff, layouts.cocostuff),
    (LoveDA, layouts.loveda),
    (ISAID, layouts.isaid),
    (ISPRS, layouts.isprs),
    (PascalContext, layouts.context),
]


def labels_of(mask: torch.Tensor) -> list[int]:
    """The values of the quarters of a mask that is constant in each quarter."""
    height, width = mask.shape
    parts = (mask[: height // 2, : width // 2], mask[: height // 2, width // 2 :])
    parts += (mask[height // 2 :, : width // 2], mask[height // 2 :, width // 2 :])
    assert all((part == part[0, 0]).all() for part in parts)
    return [int(part[0, 0]) for part in parts]


@pytest.mark.parametrize(("dataset", "make"), DATASETS)
def test_samples_are_complete_images_with_masks(tmp_path: Path, dataset: type, make: object) -> None:
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


def test_the_cityscapes_classes_are_the_official_ones(tmp_path: Path) -> None:
    from cityscapesscripts.helpers.labels import labels

    classes = Cityscapes(layouts.cityscapes(tmp_path)).classes
    official = sorted((label for label in labels if 0 <= label.trainId < 255), key=lambda label: label.trainId)
    assert [(label.name, label.color, label.id, label.hasInstances) for label in official] == [
        (info.name, info.color, info.label_id, info.thing) for info in classes.classes
    ]


def test_every_official_cityscapes_label_is_mapped(tmp_path: Path) -> None:
    from cityscapesscripts.helpers.labels import labels

    root = layouts.cityscapes(tmp_path, {"val": 1})
    path = next(root.rglob("*_labelIds.png"))
    layouts.save(path, np.array([[label.id % 256 for label in labels]], dtype=np.uint8))
    mask = Cityscapes(root, "val").read_mask(path)
    assert mask.tolist() == [[label.trainId % 256 for label in labels]]


@pytest.mark.parametrize(("dataset", "make"), DATASETS)
def test_to_label_ids_restores_the_label_files(tmp_path: Path, dataset: type, make: object) -> None:
    data: SegmentationDataset = dataset(make(tmp_path))  # type: ignore[operator]
    for pair in data.pairs:
        indices, labels = data.read_mask(pair.mask), data.read_values(pair.mask)
        valid = indices != IGNORE_INDEX
        assert valid.any()
        np.testing.assert_array_equal(data.classes.to_label_ids(indices[valid]), labels[valid])


@pytest.mark.parametrize(("dataset", "make"), DATASETS)
def test_missing_data_is_reported_with_place_layout_and_remedy(tmp_path: Path, dataset: type, make: object) -> None:
    with pytest.raises(DataNotFoundError, match=r"No data found in /.*nowhere.*: expected .*png") as caught:
        dataset(tmp_path / "nowhere")
    assert "\n" not in str(caught.value)
    assert "http" in str(caught.value) or "prepare_" in str(caught.value)
    root = make(tmp_path)  # type: ignore[operator]
    for folder in {pair.image.parent for pair in dataset(root).pairs}:
        shutil.rmtree(folder)
        folder.mkdir()
    with pytest.raises(DataNotFoundError, match="No data found in"):
        dataset(root)
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'dev'"):
        dataset(root, "dev")


@pytest.mark.parametrize(("dataset", "make"), DATASETS)
def test_missing_label_files_are_found(tmp_path: Path, dataset: type, make: object) -> None:
    data = dataset(make(tmp_path))  # type: ignore[operator]
    data.require_files()
    pair = data.pairs[1]
    pair.mask.unlink()
    assert data.missing_files() == [(pair.image, pair.mask)]
    with pytest.raises(DataError, match=r"^1 label files are missing, for example .*png for the image .*\.$"):
        data.require_files()
    pair.mask.with_suffix(".tif").touch()
    with pytest.raises(DataError, match=rf"; there is {pair.mask.stem}\.tif, but the name must be {pair.mask.name}\.$"):
        data.require_files()


def test_missing_instance_maps_are_found(tmp_path: Path) -> None:
    data = Cityscapes(layouts.cityscapes(tmp_path), "val", instances=True)
    lost = data.pairs[2].instances
    assert lost is not None
    lost.unlink()
    assert data.missing_files() == [(data.pairs[2].image, lost)]


def test_camvid_has_a_test_split(tmp_path: Path) -> None:
    root = layouts.camvid(tmp_path, {"train": 1, "val": 1})
    with pytest.raises(DataNotFoundError, match=r"No data found in /.*images/test: expected images/SPLIT"):
        CamVid(root, "test")
    data = CamVid(layouts.camvid(tmp_path, {"test": 5}), "test")
    assert len(data) == 5
    assert data.pairs[0].image == root / "images" / "test" / "0001TP_000000.jpg"
    assert data.pairs[0].mask == root / "annotations" / "test" / "0001TP_000000.png"


@pytest.mark.parametrize("dataset", [ADE20K, Cityscapes, VOC, COCOStuff, LoveDA, ISPRS, PascalContext])
def test_data_sets_without_public_test_labels_have_no_test_split(tmp_path: Path, dataset: type) -> None:
    with pytest.raises(
        DataNotFoundError, match=rf"{dataset.__name__} has no public labels for its test images; use `segattn validate`"
    ):
        dataset(tmp_path, "test")


def test_errors_name_image_and_mask_of_different_sizes(tmp_path: Path) -> None:
    data = CamVid(layouts.camvid(tmp_path))
    layouts.save(data.pairs[0].mask, layouts.quarters([0, 1, 2, 3], (24, 30)))
    with pytest.raises(DataError, match=r"0001TP_000000\.jpg has 32x24 pixels but its label file .*\.png has 30x24"):
        data[0]


def test_errors_name_unknown_labels(tmp_path: Path) -> None:
    data = ADE20K(layouts.ade20k(tmp_path))
    layouts.save(data.pairs[0].mask, layouts.quarters([0, 1, 151, 255]))
    with pytest.raises(DataError, match=r"ADE_train_00000001\.png contains values .*: 151, 255\.$"):
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


def test_the_ade20k_classes_are_those_of_the_real_files(shared_data: Path) -> None:
    import json

    official = json.loads((shared_data / "ADEChallengeData2016" / "classes150.json").read_text())
    classes = ADE20K(shared_data / "ADEChallengeData2016").classes.classes
    assert [(entry["name"].strip(), tuple(entry["color"]), entry["id"]) for entry in official] == [
        (info.name, info.color, info.label_id) for info in classes
    ]
