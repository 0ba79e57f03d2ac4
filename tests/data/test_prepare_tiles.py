"""Tiles of aerial images: which pixels they contain, and what the data sets read from them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import prepare_tiles
import pytest
from PIL import Image

from segattn.data import ISAID, ISPRS
from tests.data import layouts


@pytest.mark.parametrize(
    ("length", "size", "step", "count"),
    [(6000, 512, 512, 12), (6000, 512, 256, 23), (896, 896, 512, 1), (897, 896, 512, 2), (300, 896, 512, 1)],
)
def test_tiles_cover_an_axis(length: int, size: int, step: int, count: int) -> None:
    """Potsdam: 24 training images of 6000x6000 are 24 * 12 * 12 = 3,456 tiles without overlap."""
    found = list(prepare_tiles.tiles(length, 10, size, step))
    assert len(found) == count
    assert found[0][0] == 0
    assert found[-1][1] == length
    assert all(bottom - top == min(size, length) for top, bottom, _, _ in found)
    assert all(later[0] <= earlier[1] for earlier, later in pairwise(found))


def test_isaid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = layouts.isaid(tmp_path)
    arguments = ["isaid", str(root), "--root", str(root), "--size", "16", "--overlap", "4"]
    complete = {pair.name[:-4]: ISAID(root).read(index) for index, pair in enumerate(ISAID(root).pairs)}
    complete_instances = np.array(Image.open(root / "train/Instance_masks/images/P0000_instance_id_RGB.png"))
    assert prepare_tiles.main(arguments) == 0
    assert capsys.readouterr().out.endswith(f"24 images in {root / 'img_dir'}\n")
    data = ISAID(root, instances=True)
    data.require_files()
    assert [pair.name for pair in data.pairs[:6]] == [
        f"P0000_{rows}_{columns}.png" for rows in ("0_16", "8_24") for columns in ("0_16", "12_28", "16_32")
    ]
    for index, pair in enumerate(data.pairs):
        name, *area = pair.name[:-4].split("_")
        top, bottom, left, right = map(int, area)
        read, whole = data.read(index), complete[name]
        np.testing.assert_array_equal(read.image, whole.image[top:bottom, left:right])
        np.testing.assert_array_equal(read.mask, whole.mask[top:bottom, left:right])
        colors = complete_instances[top:bottom, left:right].astype(int)
        np.testing.assert_array_equal(read.instances, colors[..., 0] * 65536 + colors[..., 1] * 256 + colors[..., 2])
    assert [pair.name for pair in ISAID(root, "val").pairs] == ["P1000.png", "P1001.png", "P1002.png"]
    assert prepare_tiles.main(arguments) == 1
    assert "img_dir/train exists; remove it to write it again." in capsys.readouterr().err


def official(root: Path) -> tuple[Path, Path]:
    """Two training images and a validation image of Vaihingen with color masks, and their folders."""
    colors = np.array([[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 255, 0]], dtype=np.uint8)
    for index, area in enumerate((1, 3, 20)):
        layouts.save(root / "top" / f"top_mosaic_09cm_area{area}.tif", layouts.photo(index))
        mask = colors[layouts.quarters([0, 1, 2, 3])]
        layouts.save(root / "gts" / f"top_mosaic_09cm_area{area}_noBoundary.tif", mask)
    return root / "top", root / "gts"


@pytest.mark.parametrize("tile_val", [False, True])
def test_isprs(tmp_path: Path, tile_val: bool) -> None:
    images, labels = official(tmp_path)
    arguments = ["vaihingen", str(images), str(labels), "--root", str(tmp_path), "--size", "16", "--overlap", "0"]
    assert prepare_tiles.main([*arguments, *(["--tile-val"] if tile_val else [])]) == 0
    train, val = ISPRS(tmp_path), ISPRS(tmp_path, "val")
    assert [pair.name for pair in train.pairs] == [
        f"{area}_{rows}_{columns}.png"
        for area in ("area1", "area3")
        for rows in ("0_16", "8_24")
        for columns in ("0_16", "16_32")
    ]
    np.testing.assert_array_equal(train.read(5).image, layouts.photo(1)[:16, 16:])
    np.testing.assert_array_equal(train.read(0).mask, layouts.quarters([255, 0, 1, 4])[:16, :16])
    np.testing.assert_array_equal(train.read(7).mask, layouts.quarters([255, 0, 1, 4])[8:, 16:])
    assert len(val) == (4 if tile_val else 1)
    if not tile_val:
        assert val.pairs[0].name == "area20.png"
        np.testing.assert_array_equal(val.read(0).mask, layouts.quarters([255, 0, 1, 4]))


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = official(tmp_path)
    arguments = ["vaihingen", str(images), str(labels), "--root", str(tmp_path)]
    (labels / "top_mosaic_09cm_area3_noBoundary.tif").unlink()
    assert prepare_tiles.main(arguments) == 1
    assert "There is no label file of area3 in " in capsys.readouterr().err
    layouts.save(labels / "top_mosaic_09cm_area3_noBoundary.tif", np.zeros((8, 8, 3), np.uint8))
    assert prepare_tiles.main(arguments) == 1
    assert "differ in size." in capsys.readouterr().err
    assert not (tmp_path / "img_dir" / "train").exists()
    assert prepare_tiles.main(["potsdam", *arguments[1:]]) == 1
    assert "does not contain an area of potsdam, such as 2_13." in capsys.readouterr().err
    for wrong in (["isaid", str(images), str(labels)], ["potsdam", str(images)], [*arguments, "--overlap", "512"]):
        with pytest.raises(SystemExit):
            prepare_tiles.main(wrong)
