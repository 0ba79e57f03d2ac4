from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn.data.class_file import LabelScheme
from segattn.data.errors import DataError
from segattn.init.label_values import class_file, label_values


def scheme(tmp_path: Path, *masks: Image.Image) -> LabelScheme:
    """The class file of masks, read back."""
    paths = [tmp_path / f"{index}.png" for index in range(len(masks))]
    for path, mask in zip(paths, masks, strict=True):
        mask.save(path)
    (tmp_path / "classes.yaml").write_text(class_file(label_values(paths), masks=len(paths)))
    return LabelScheme.read(tmp_path / "classes.yaml")


def gray(*values: int) -> Image.Image:
    return Image.fromarray(np.uint8([values, values]))


def test_values_of_all_masks_are_classes_and_255_is_ignored(tmp_path):
    found = scheme(tmp_path, gray(0, 3, 3), gray(7, 255, 3))
    assert found.classes.label_ids == (0, 3, 7)
    assert found.classes.names == ("class 0", "class 3", "class 7")
    assert found.label_map(np.uint8([[0, 3, 7, 255]]), tmp_path).tolist() == [[0, 1, 2, 255]]


@pytest.mark.parametrize("foreground", [1, 255])
def test_binary_masks_have_a_foreground(tmp_path, foreground):
    found = scheme(tmp_path, gray(0, foreground), gray(0, 0))
    assert found.classes.names == ("background", "foreground")
    assert found.classes.label_ids == (0, foreground)


def test_palette_masks_keep_their_colors(tmp_path):
    mask = gray(0, 2).convert("P")
    mask.putpalette([0, 0, 0, 1, 1, 1, 128, 0, 64])
    found = scheme(tmp_path, mask)
    assert found.classes.label_ids == (0, 2)
    assert found.classes.classes[1].color == (128, 0, 64)


def test_color_masks_become_classes_of_colors(tmp_path):
    colors = np.uint8([[[0, 0, 0], [128, 64, 0], [0, 0, 255]]])
    found = scheme(tmp_path, gray(0, 0), Image.fromarray(colors))  # the first one alone looks like label values
    assert found.label_map.of_colors
    assert [each.color for each in found.classes.classes] == [(0, 0, 0), (0, 0, 255), (128, 64, 0)]
    assert found.classes.names == ("color 000000", "color 0000ff", "color 804000")  # not those of gray masks


def test_negative_labels_name_the_mask(tmp_path):
    Image.fromarray(np.int32([[-1, 3]])).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"mask .*a\.tif contains -1; labels must be 0 to 65535"):
        label_values([tmp_path / "a.tif"])


def test_photographs_are_no_masks(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="more than 256 colors"):
        label_values([tmp_path / "a.png"])
