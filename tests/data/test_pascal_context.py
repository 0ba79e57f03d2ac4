"""Pascal Context: 60 and 59 classes, the two orders of its classes, and the real files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segattn.data import PascalContext, PascalContextDataModule
from segattn.data.pascal_context import CLASS_FILES, read_scheme
from segattn.sample import IGNORE_INDEX
from segattn.score.folder_scoring import read_classes
from tests.data import layouts
from tests.data.test_datasets import labels_of


def test_60_classes_include_the_background_and_59_ignore_it(tmp_path: Path) -> None:
    root = layouts.context(tmp_path)
    assert labels_of(PascalContext(root)[0]["mask"]) == [0, 1, 2, 59]
    data = PascalContext(root, "val", classes="context59")
    assert labels_of(data[0]["mask"]) == [IGNORE_INDEX, 0, 1, 58]
    assert data.classes.label_ids == tuple(range(1, 60))
    module = PascalContextDataModule(str(root), classes="context59")
    assert module.classes == module.dataset("train").classes == data.classes
    with pytest.raises(ValueError, match=r"classes must be one of context60, .*, got 'context'\."):
        PascalContext(root, classes="context")


@pytest.mark.parametrize("name", CLASS_FILES)
def test_class_files_agree(name: str) -> None:
    classes, other = read_scheme(name).classes, read_scheme(name.replace("59", "60")).classes
    assert len(classes) == int(name[7:9])
    assert classes.classes == other.classes[-len(classes) :]
    assert len(classes.things) == 31
    assert read_classes(name).classes == classes  # segattn score --classes NAME
    assert list(classes.names[-59:]) == sorted(classes.names[-59:]) or "voc_first" in name


def test_the_orders_have_the_same_classes() -> None:
    alphabetical, voc_first = (read_scheme(name).classes.names for name in ("context60", "context60_voc_first"))
    synonyms = {"bedcloth": "bedclothes", "clothes": "cloth", "diningtable": "table"}
    assert sorted(synonyms.get(name, name) for name in voc_first) == sorted(alphabetical)


def test_the_real_files(shared_data: Path) -> None:
    root = shared_data / "VOCdevkit" / "VOC2010"
    expected = {
        "val": {"background": 219, "bus": 35318, "car": 318, "person": 218, "building": 27642, "grass": 3807}
        | {"light": 48, "road": 39595, "sidewalk": 1718, "sky": 3221, "tree": 13896},
        "train": {
            "background": 20246,
            "motorbike": 32725,
            "person": 38072,
            "grass": 43704,
            "ground": 16397,
            "sky": 69856,
        },
    }
    found = {}
    for split in expected:
        data = PascalContext(root, split, classes="context60_voc_first")
        assert len(data) == 1
        mask = data.read(0).mask
        np.testing.assert_array_equal(mask, np.array(Image.open(data.pairs[0].mask)))
        counts = {name: int((mask == index).sum()) for index, name in enumerate(data.classes.names)}
        found[split] = {name: count for name, count in counts.items() if count}
    assert found == expected


def test_the_classes_of_the_real_files(shared_data: Path) -> None:
    root = shared_data / "VOCdevkit" / "VOC2010"
    lines = (root / "classes-59.txt").read_text().split("\n")
    names = tuple(line.split(": ")[1] for line in lines if ": " in line)
    data = PascalContext(root, classes="context60_voc_first")
    assert data.classes.names == names
    path = data.pairs[0].mask
    colors = np.array(Image.open(root / "SegmentationClassContext_rgb" / path.name).convert("RGB"))
    np.testing.assert_array_equal(data.classes.palette[data.read(0).mask], colors)
