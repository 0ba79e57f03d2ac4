from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segattn.data import Folder, FolderDataModule
from segattn.data.class_file import LabelScheme
from segattn.data.errors import DataError, DataNotFoundError
from segattn.sample import IGNORE_INDEX
from tests.data import layouts
from tests.data.test_datasets import labels_of

ROAD, CAR = [128, 64, 128], [0, 0, 142]


def scheme(tmp_path: Path, content: object) -> LabelScheme:
    path = tmp_path / "classes.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return LabelScheme.read(path)


def data_with_mask(tmp_path: Path, mask: Image.Image, content: object) -> Folder:
    layouts.save(tmp_path / "images" / "a.jpg", layouts.photo(0))
    (tmp_path / "masks").mkdir()
    mask.save(tmp_path / "masks" / "a.png")
    return Folder(tmp_path / "images", tmp_path / "masks", scheme(tmp_path, content))


def test_nested_folders_of_several_image_types(tmp_path: Path) -> None:
    module = FolderDataModule(str(layouts.folder(tmp_path)))
    assert module.classes.names == ("road", "car", "tree")
    assert module.classes.label_ids == (1, 2, 7)
    assert module.classes.things == (1,)
    data = module.dataset("train")
    names = ["day/frame 1.JPG", "frame 0.png", "frame 3.png", "night/clear/frame 2.bmp"]
    assert [sample["name"] for sample in data] == names
    assert all(labels_of(sample["mask"]) == [0, 1, 2, IGNORE_INDEX] for sample in data)
    assert len(set(map(tuple, module.classes.palette.tolist()))) == 3


def test_values_are_remapped_and_ignored(tmp_path: Path) -> None:
    content = {
        "classes": [{"name": "road", "label": 300}, {"name": "car", "label": 0, "color": CAR}],
        "ignore": [4],
        "remap": [{"from": 5, "to": 0}, {"from": 6, "to": 4}],
    }
    mask = Image.fromarray(layouts.quarters([300, 0, 5, 6]).astype(np.uint16))
    data = data_with_mask(tmp_path, mask, content)
    assert labels_of(data[0]["mask"]) == [0, 1, 1, IGNORE_INDEX]
    assert data.classes.classes[1].color == tuple(CAR)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_color_masks(tmp_path: Path, mode: str) -> None:
    content = {
        "classes": [{"name": "road", "color": ROAD}, {"name": "car", "color": CAR, "thing": True}],
        "ignore": [[0, 0, 0]],
        "remap": [{"from": [1, 1, 1], "to": CAR}],
    }
    colors = np.array([ROAD, CAR, [0, 0, 0], [1, 1, 1]], dtype=np.uint8)[layouts.quarters([0, 1, 2, 3])]
    mask = Image.fromarray(colors)
    data = data_with_mask(tmp_path, mask.quantize(4) if mode == "P" else mask.convert(mode), content)
    assert labels_of(data[0]["mask"]) == [0, 1, IGNORE_INDEX, 1]
    assert data.classes.label_ids == (0, 1)
    assert data.classes.palette.tolist() == [ROAD, CAR]


def test_palette_masks_are_read_by_index(tmp_path: Path) -> None:
    mask = Image.fromarray(layouts.quarters([0, 1, 2, 0]).astype(np.uint8), "P")
    mask.putpalette([*ROAD, *CAR, 0, 0, 0])
    content = {"classes": [{"name": str(value), "label": value} for value in range(3)]}
    assert labels_of(data_with_mask(tmp_path, mask, content)[0]["mask"]) == [0, 1, 2, 0]


def test_unknown_values_are_reported_with_their_file(tmp_path: Path) -> None:
    mask = Image.fromarray(layouts.quarters([0, 255, 0, 0]).astype(np.uint8))
    data = data_with_mask(tmp_path, mask, {"classes": [{"name": "road", "label": 0}]})
    with pytest.raises(DataError, match=r"a\.png contains values that are neither a class nor ignored: 255\.$"):
        data[0]


def test_two_masks_of_one_image_are_rejected(tmp_path: Path) -> None:
    root = layouts.folder(tmp_path)
    layouts.save(root / "masks" / "train" / "frame 0.tif", layouts.quarters([1, 2, 7, 7]))
    with pytest.raises(DataError, match=r"frame 0\.png and .*frame 0\.tif belong to the same image"):
        FolderDataModule(str(root)).dataset("train")


def test_the_test_split_is_optional(tmp_path: Path) -> None:
    root = str(layouts.folder(tmp_path))
    module = FolderDataModule(root, test_images="images/train", test_masks=str(tmp_path / "masks" / "train"))
    assert len(module.dataset("test")) == 4
    for given in ({}, {"test_images": "images/train"}):
        with pytest.raises(DataNotFoundError, match=r"no test images: set data\.test_images and data\.test_masks"):
            FolderDataModule(root, **given).dataset("test")


def test_missing_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"There is no class file /.*classes\.yaml; it must list"):
        FolderDataModule(str(tmp_path))
    root = layouts.folder(tmp_path)
    with pytest.raises(DataNotFoundError, match=r"No data found in /.*nowhere"):
        FolderDataModule(str(root), val_masks="nowhere").dataset("val")
    (root / "masks" / "train" / "frame 3.png").unlink()
    with pytest.raises(DataError, match=r"1 label files are missing, for example .*frame 3\.png"):
        FolderDataModule(str(root)).dataset("train").require_files()


def test_class_names_that_yaml_1_1_reads_as_truth_values(tmp_path: Path) -> None:
    assert scheme(tmp_path, "classes: [{name: no, label: 1}, {name: 12, label: 2}]").classes.names == ("no", "12")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("classes: [", r"expected the node content, but found '<stream end>' \(line 1\)"),
        ("classes:\n- {name: a, label: 1}\nclasses: []", r"the key classes is given twice \(lines 1 and 3\)"),
        ("classes: [{name: true, label: 1}]", "a name must be text, got True; write it in quotes"),
        ("classes: [{name: ~, label: 1}]", "a name must be text, got None"),
        ("classes: [{name: a, label: 1, thing: yes}]", "thing must be true or false, got 'yes'"),
        ({"labels": []}, "the file needs the keys classes and may have ignore, remap"),
        ({"classes": [{"label": 1}]}, "the class .* needs the keys name and may have color, label, thing"),
        ({"classes": [{"name": "a", "label": 1, "colour": CAR}]}, "may have color, label, thing"),
        ({"classes": [{"name": "a", "label": 1}, {"name": "b", "color": CAR}]}, "either all classes must have a label"),
        ({"classes": [{"name": "a"}]}, "either all classes must have a label"),
        ({"classes": []}, "A class table needs 1 to 255 classes, got 0"),
        ({"classes": [{"name": "a", "label": "1"}]}, "a label value must be an integer, got '1'"),
        ({"classes": [{"name": "a", "color": [1, 2]}]}, "a color must be a list of three integers"),
        ({"classes": [{"name": "a", "color": [1, 2, 256]}]}, "a color must be a list of three integers"),
        ({"classes": [{"name": "a", "label": 1}], "ignore": [1]}, r"\[1\] have two meanings"),
        ({"classes": [{"name": "a", "label": 1}], "remap": [{"from": 1}]}, "the rule .* needs the keys from, to"),
        ({"classes": [{"name": "a", "label": 1}, {"name": "a", "label": 2}]}, "Two classes share the name a"),
        ({"classes": [{"name": "a", "color": CAR}, {"name": "b", "color": CAR}]}, r"Two classes share the color \("),
        ({"classes": [{"name": "a", "label": 1, "thing": "maybe"}]}, "thing must be true or false, got 'maybe'"),
    ],
)
def test_invalid_class_files_are_rejected(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"(?s)The class file .*classes\.yaml cannot be used: .*{message}"):
        scheme(tmp_path, content)


def test_real_photographs_and_masks(shared_data: Path, tmp_path: Path) -> None:
    classes = [{"name": f"stuff {value}", "label": value} for value in range(182)]
    (tmp_path / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "ignore": [255]}))
    folders = {"train_masks": "annotations/train", "val_masks": "annotations/val"}
    module = FolderDataModule(str(shared_data / "cocostuff"), classes=str(tmp_path / "classes.yaml"), **folders)
    for split in ("train", "val"):
        data = module.dataset(split)
        assert len(data) > 10
        for index, pair in enumerate(data.pairs[:4]):
            np.testing.assert_array_equal(data[index]["mask"], np.array(Image.open(pair.mask)))


def test_lists_divide_one_folder_into_splits(tmp_path: Path) -> None:
    for index in range(5):
        layouts.save(tmp_path / "images" / "day" / f"{index}.jpg", layouts.photo(index))
        layouts.save(tmp_path / "masks" / "day" / f"{index}.png", layouts.quarters([1, 1, 1, 1]))
    (tmp_path / "classes.yaml").write_text("classes: [{name: road, label: 1}]")
    (tmp_path / "val.txt").write_text("\ufeffday/3.jpg\n\nday/1.jpg \nday/3.jpg\n", encoding="utf-8")
    folders = {"train_images": "images", "train_masks": "masks", "val_images": "images", "val_masks": "masks"}
    module = FolderDataModule(str(tmp_path), **folders, val_list="val.txt")
    assert [sample["name"] for sample in module.dataset("val")] == ["day/3.jpg", "day/1.jpg"]
    assert len(module.dataset("train")) == 5
    (tmp_path / "val.txt").write_text("day/3.jpg\n3.jpg\n")
    with pytest.raises(DataError, match=r"1 images that .*val\.txt lists do not exist, for example '3\.jpg'"):
        module.dataset("val")
    (tmp_path / "val.txt").unlink()
    with pytest.raises(DataNotFoundError, match=r"val\.txt"):
        module.dataset("val")
