"""Pascal VOC 2012: exact values, lists, SBD's labels, instance maps, and the real files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn.data import VOC, VOCDataModule
from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.label_files import read_labels
from segattn.sample import IGNORE_INDEX
from tests.data import layouts
from tests.data.test_datasets import labels_of

LISTS = "ImageSets/Segmentation"


def test_palette_masks_are_read_as_indices(tmp_path: Path) -> None:
    data = VOC(layouts.voc(tmp_path))
    assert [pair.name for pair in data.pairs] == [f"2007_{index:06d}.jpg" for index in range(4)]
    assert labels_of(data[0]["mask"]) == [0, 1, 2, IGNORE_INDEX]
    assert data.classes.names[1:3] == ("aeroplane", "bicycle")
    assert data.classes.things == tuple(range(1, 21))


def test_colors_are_those_of_the_palette_formula(tmp_path: Path) -> None:
    for index, info in enumerate(VOC(layouts.voc(tmp_path)).classes.classes):
        bits = [index >> bit & 1 for bit in range(9)]
        expected = tuple(sum(bits[3 * place + channel] << (7 - place) for place in range(3)) for channel in range(3))
        assert info.color == expected


def test_sbd_adds_images_and_keeps_the_official_labels(tmp_path: Path) -> None:
    data = VOC(layouts.voc(tmp_path), sbd=True)
    assert len(data) == 6
    assert labels_of(data[3]["mask"]) == [0, 1, 2, IGNORE_INDEX]  # SegmentationClassAug also has a file for this image
    assert labels_of(data[4]["mask"]) == [0, 20, 15, 4]
    assert len(VOC(tmp_path, "val", sbd=True)) == 3
    (tmp_path / LISTS / "trainaug.txt").unlink()
    with pytest.raises(
        DataNotFoundError,
        match=r"No data found in .*trainaug\.txt: expected .*trainaug\.txt, which scripts/prepare_voc\.py writes\)",
    ):
        VOC(tmp_path, sbd=True)


def test_instance_maps_have_no_instance_on_borders(tmp_path: Path) -> None:
    data = VOCDataModule(str(layouts.voc(tmp_path)), instances=True, sbd=True, num_workers=0)
    data.setup("fit")
    assert labels_of(data.datasets["val"][0]["instances"]) == [0, 2, 1, 0]
    assert "instances" not in data.datasets["train"][0]
    assert next(iter(data.val_dataloader()))["objects"][0].is_instance.tolist() == [False, False, True, True]


def test_lists_may_have_blank_lines_and_other_line_ends(tmp_path: Path) -> None:
    root = layouts.voc(tmp_path)
    (root / LISTS / "val.txt").write_bytes(b"\xef\xbb\xbf2008_000002\r\n\r\n 2008_000000 \r\n2008_000002\r\n")
    assert [pair.name for pair in VOC(root, "val").pairs] == ["2008_000002.jpg", "2008_000000.jpg"]


@pytest.mark.parametrize("line", ["2008_000009", "2008_000000.jpg", "/JPEGImages/2008_000000.jpg", "2008_000000  1"])
def test_listed_images_that_do_not_exist_are_reported(tmp_path: Path, line: str) -> None:
    root = layouts.voc(tmp_path)
    (root / LISTS / "val.txt").write_text(f"2008_000001\n{line}\n")
    with pytest.raises(DataError, match=rf"^1 images that .*val\.txt lists are not in .*, for example {line!r}; each"):
        VOC(root, "val")


def test_labels_outside_the_21_classes_are_reported(tmp_path: Path) -> None:
    data = VOC(layouts.voc(tmp_path))
    layouts.save(data.pairs[0].mask, layouts.quarters([0, 20, 21, 254]))
    with pytest.raises(DataError, match=r"neither a class nor ignored: 21, 254\.$"):
        data[0]


def test_the_real_files(shared_data: Path) -> None:
    root = shared_data / "VOCdevkit" / "VOC2012"
    for split, sbd, count in (("train", False, 3), ("val", False, 5), ("train", True, 7)):
        data = VOC(root, split, sbd=sbd)
        assert len(data) == count
        data.require_files()
        for index, pair in enumerate(data.pairs):
            np.testing.assert_array_equal(data[index]["mask"], np.array(Image.open(pair.mask)))
    pixels = {name: int((VOC(root)[0]["mask"] == index).sum()) for index, name in enumerate(VOC(root).classes.names)}
    assert {name: count for name, count in pixels.items() if count} == {
        **{"background": 129545, "aeroplane": 4734, "person": 866}
    }
    assert int((VOC(root)[0]["mask"] == IGNORE_INDEX).sum()) == 5355
    labeled = [IGNORE_INDEX in read_labels(pair.mask) for pair in VOC(root, sbd=True).pairs]
    assert labeled == [True] * 3 + [False] * 4  # SBD's labels have no borders


def test_the_real_instance_map(shared_data: Path) -> None:
    root = shared_data / "VOCdevkit" / "VOC2012"
    data = VOC(root, instances=True)
    sample = data.read(1)
    assert sample.name == "2007_000063.jpg"
    assert sample.instances is not None
    assert [int((sample.instances == value).sum()) for value in range(3)] == [72224 + 8714, 27632, 78930]
    assert (sample.mask[sample.instances == 1] == 12).all()
