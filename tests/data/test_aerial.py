"""The aerial data sets LoveDA, iSAID, and ISPRS Potsdam and Vaihingen: exact values on tiny and on real files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn.check.data_check import check_data
from segattn.data import ISAID, ISPRS, ISAIDDataModule, LoveDA
from segattn.data.errors import DataError
from segattn.sample import IGNORE_INDEX
from tests.data import layouts
from tests.data.test_datasets import labels_of


def test_loveda_reads_both_areas(tmp_path: Path) -> None:
    data = LoveDA(layouts.loveda(tmp_path))
    assert [pair.name for pair in data.pairs] == ["Rural/0.png", "Rural/1.png", "Urban/0.png", "Urban/1.png"]
    assert labels_of(data[1]["mask"]) == [IGNORE_INDEX, 0, 6, 2]
    assert data.pairs[2].mask == tmp_path / "Train" / "Urban" / "masks_png" / "0.png"
    np.testing.assert_array_equal(data.read(3).image, layouts.photo(3))
    shutil.rmtree(tmp_path / "Train" / "Urban")
    assert len(LoveDA(tmp_path)) == 2


def test_loveda_reads_the_folders_of_openmmlab(tmp_path: Path) -> None:
    data = LoveDA(layouts.isprs(tmp_path, {"val": 2}), "val")
    assert data.pairs[1].mask == tmp_path / "ann_dir" / "val" / "2_10_256_0_768_512.png"
    assert labels_of(data[0]["mask"]) == [IGNORE_INDEX, 0, 5, 4]


def test_isprs(tmp_path: Path) -> None:
    data = ISPRS(layouts.isprs(tmp_path), "val")
    assert data[1]["name"] == "2_10_256_0_768_512.png"
    assert labels_of(data[1]["mask"]) == [IGNORE_INDEX, 0, 5, 4]


def test_isprs_reads_color_masks(tmp_path: Path) -> None:
    data = ISPRS(layouts.isprs(tmp_path))
    colors = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [255, 255, 0]], dtype=np.uint8)
    layouts.save(data.pairs[0].mask, colors[layouts.quarters([0, 1, 2, 3])])
    assert labels_of(data[0]["mask"]) == [IGNORE_INDEX, 0, 5, 4]
    colors[2, 1] = 9
    layouts.save(data.pairs[0].mask, colors[layouts.quarters([0, 1, 2, 3])])
    with pytest.raises(DataError, match=r"neither a class nor ignored: \(255, 9, 0\)\.$"):
        data[0]


def test_isaid_reads_class_and_instance_colors(tmp_path: Path) -> None:
    data = ISAID(layouts.isaid(tmp_path), "val", instances=True)
    assert [pair.name for pair in data.pairs] == ["P1000.png", "P1001.png", "P1002.png"]
    assert labels_of(data[0]["mask"]) == [0, 1, 9, 15]
    assert labels_of(data[0]["instances"]) == [0, 7, 300, 300]
    assert data.classes.things == tuple(range(1, 16))
    assert [data.classes.names[index] for index in (1, 9, 15)] == ["ship", "small vehicle", "harbor"]


def test_isaid_reads_masks_beside_the_images(tmp_path: Path) -> None:
    layouts.isaid(tmp_path)
    for kind in ("Semantic", "Instance"):
        for path in (tmp_path / "train" / f"{kind}_masks" / "images").iterdir():
            path.rename(tmp_path / "train" / "images" / path.name)
        shutil.rmtree(tmp_path / "train" / f"{kind}_masks")
    data = ISAID(tmp_path, instances=True)
    data.require_files()
    assert [pair.name for pair in data.pairs] == [f"P000{index}.png" for index in range(4)]
    assert labels_of(data[3]["mask"]) == [0, 1, 9, 15]
    assert labels_of(data[3]["instances"]) == [0, 7, 300, 300]
    report = check_data(ISAIDDataModule(str(tmp_path), instances=True, num_workers=0))
    assert not report.errors
    assert report.splits["train"].pixels[[0, 1, 9, 15, -1]].tolist() == [768, 768, 768, 768, 0]


def test_isaid_reads_tiles_where_they_exist(tmp_path: Path) -> None:
    """OpenMMLab's tiles contain class indices, and 255 where a tile is larger than the image."""
    layouts.isaid(tmp_path)
    layouts.save(tmp_path / "img_dir" / "train" / "P0000_0_896_512_1408.png", layouts.photo(0))
    mask = tmp_path / "ann_dir" / "train" / "P0000_0_896_512_1408_instance_color_RGB.png"
    layouts.save(mask, layouts.quarters([0, 1, 15, 255]))
    data = ISAID(tmp_path)
    data.require_files()
    assert [pair.name for pair in data.pairs] == ["P0000_0_896_512_1408.png"]
    assert labels_of(data[0]["mask"]) == [0, 1, 15, IGNORE_INDEX]
    assert len(ISAID(tmp_path, "val")) == 3


@pytest.mark.parametrize(("dataset", "make", "value"), [(LoveDA, layouts.loveda, 8), (ISPRS, layouts.isprs, 7)])
def test_values_that_were_reduced_are_reported(tmp_path: Path, dataset: type, make: object, value: int) -> None:
    """Label files from which 1 was already subtracted contain 255."""
    data = dataset(make(tmp_path))  # type: ignore[operator]
    layouts.save(data.pairs[0].mask, layouts.quarters([1, 2, value, 255]))
    with pytest.raises(DataError, match=rf"neither a class nor ignored: {value}, 255\.$"):
        data[0]


@pytest.mark.parametrize(
    ("dataset", "folder", "split", "pixels"),
    [
        (LoveDA, "LoveDA", "train", [142441, 14427, 19208, 3888, 0, 0, 868612]),
        (LoveDA, "LoveDA", "val", [226400, 3503, 2485, 244616, 0, 43126, 528446]),
        (ISPRS, "potsdam", "train", [100557, 64023, 34357, 30670, 7841, 0]),
        (ISPRS, "vaihingen", "train", [135362, 79847, 16532, 4908, 4212, 0]),
    ],
)
def test_the_real_files(shared_data: Path, dataset: type, folder: str, split: str, pixels: list[int]) -> None:
    data = dataset(shared_data / folder, split)
    assert len(data) == 1
    mask = data.read(0).mask
    np.testing.assert_array_equal(mask, np.array(Image.open(data.pairs[0].mask)) - 1)  # 0 becomes 255
    assert [int((mask == index).sum()) for index in range(len(data.classes))] == pixels


@pytest.mark.parametrize("folder", ["potsdam", "vaihingen"])
def test_colors_are_those_of_the_real_color_masks(shared_data: Path, folder: str) -> None:
    data = ISPRS(shared_data / folder)
    path = data.pairs[0].mask
    colors = np.array(Image.open(shared_data / folder / "labels_rgb_derived" / "train" / path.name))
    mask = data.read(0).mask
    valid = mask < IGNORE_INDEX
    np.testing.assert_array_equal(data.classes.palette[mask[valid]], colors[valid])
