from pathlib import Path

import numpy as np
import pytest
import yaml

from segattn.data import ADE20KDataModule, CamVidDataModule, CityscapesDataModule, FolderDataModule, ShapesDataModule
from tests.data import layouts

SMALL = {"crop_size": (16, 16), "num_workers": 0}


def distinct_photos(root: Path) -> Path:
    """Give every image different pixels; the layouts draw the same images in both splits."""
    masks = {"annotations", "masks", "gtFine", "annotations_instance"}
    for number, path in enumerate(sorted(path for path in root.rglob("*.*") if path.suffix != ".yaml")):
        if not masks & set(path.relative_to(root).parts):
            layouts.save(path, layouts.photo(1000 + number))
    return root


def make_folder(root: Path, masks, classes, *, val=None, suffix=".png", **save_options) -> FolderDataModule:
    """A custom data set of mask arrays, with the content of its class file."""
    for part, arrays in {"train": masks, "val": masks if val is None else val}.items():
        for index, mask in enumerate(arrays):
            seed = index + (100 if part == "train" else 200)
            layouts.save(root / "images" / part / f"{index}.png", layouts.photo(seed, mask.shape[:2]))
            layouts.save(root / "masks" / part / f"{index}{suffix}", mask, **save_options)
    (root / "classes.yaml").write_text(yaml.safe_dump(classes))
    return FolderDataModule(str(root), **SMALL)


def labels(*values: int, ignore=()) -> dict:
    """The content of a class file that lists labels."""
    return {"classes": [{"name": f"class {value}", "label": value} for value in values], "ignore": list(ignore)}


TWO = labels(0, 1, ignore=[255])


@pytest.fixture
def camvid(tmp_path):
    """Sound CamVid data with twelve training pairs, so that every class occurs."""
    root = distinct_photos(layouts.camvid(tmp_path, {"train": 12, "val": 10}))
    return root, CamVidDataModule(str(root), **SMALL)


@pytest.fixture
def noise():
    return np.random.default_rng(0)


GOOD = {
    "camvid": (layouts.camvid, CamVidDataModule),
    "ade20k": (layouts.ade20k, ADE20KDataModule),
    "cityscapes": (layouts.cityscapes, CityscapesDataModule),
    "folder": (layouts.folder, FolderDataModule),
    "shapes": (lambda root: root / "shapes", ShapesDataModule),
}
