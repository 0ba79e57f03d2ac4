import os
from pathlib import Path

import numpy as np
import pytest

from segattn.data import CamVid, Folder
from segattn.data.class_file import LabelScheme
from segattn.data.errors import DataError
from segattn.data.object_index import index_objects, objects_of_mask
from segattn.io.cache_folder import cache_folder
from segattn.sample import IGNORE_INDEX
from tests.data import layouts
from tests.oracles import object_index as oracle


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def random_mask(seed: int, size: tuple[int, int], classes: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mask = generator.integers(0, classes, size).astype(np.uint8).repeat(2, axis=1)
    mask[generator.random(mask.shape) < 0.2] = IGNORE_INDEX
    return mask


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("size", "classes"), [((9, 8), 3), ((1, 7), 2), ((12, 3), 1)])
def test_objects_equal_the_oracle(seed: int, size: tuple[int, int], classes: int) -> None:
    mask = random_mask(seed, size, classes)
    found = objects_of_mask(mask, classes)
    expected = oracle.objects(mask, classes, IGNORE_INDEX)
    assert len(found) == len(expected)
    for entry, (class_id, area, distance, (y, x), pixels) in zip(found, expected, strict=True):
        assert (entry["class_id"], entry["area"]) == (class_id, area)
        assert (entry["row"], entry["column"]) in pixels
        assert (entry["row"] - y) ** 2 + (entry["column"] - x) ** 2 == pytest.approx(distance)


def test_the_pixel_of_a_ring_is_on_the_ring() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[1:8, 1:8] = 1
    mask[2:7, 2:7] = 0
    outside, ring, inside = objects_of_mask(mask, 2)
    assert mask[ring["row"], ring["column"]] == 1
    assert (inside["row"], inside["column"]) == (4, 4)
    assert outside["area"] + ring["area"] + inside["area"] == 81


def test_ignored_masks_have_no_objects() -> None:
    assert len(objects_of_mask(np.full((4, 5), IGNORE_INDEX, np.uint8), 3)) == 0


def test_the_index_of_a_data_set(tmp_path: Path) -> None:
    dataset = CamVid(layouts.camvid(tmp_path), "train")
    found = index_objects(dataset)
    assert np.array_equal(found, index_objects(dataset, workers=2))
    assert found["image"].tolist() == sorted(found["image"])
    for index in range(len(dataset)):
        own = found[found["image"] == index]
        expected = objects_of_mask(dataset.read(index).mask, len(dataset.classes))
        expected["image"] = index
        np.testing.assert_array_equal(own, expected)


def test_the_index_is_read_from_the_cache_until_a_label_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = CamVid(layouts.camvid(tmp_path), "train")
    first = index_objects(dataset)
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "read_mask", None)
        assert np.array_equal(index_objects(CamVid(tmp_path, "train")), first)
        np.testing.assert_array_equal(index_objects(dataset), first)
    (file,) = cache_folder().iterdir()
    file.write_bytes(b"damaged")
    assert np.array_equal(index_objects(dataset), first)
    changed = dataset.pairs[0].mask
    layouts.save(changed, layouts.quarters([1, 1, 1, 1]))
    os.utime(changed, (1, 1))
    assert (index_objects(dataset)["image"] == 0).sum() == 1
    os.utime(changed, (2, 2))
    index_objects(dataset)
    assert len(list(cache_folder().iterdir())) == 3


def test_the_index_depends_on_the_meaning_of_labels(tmp_path: Path) -> None:
    root = layouts.folder(tmp_path)

    def classes_found() -> set[int]:
        dataset = Folder(root / "images/train", root / "masks/train", LabelScheme.read(root / "classes.yaml"))
        return set(index_objects(dataset)["class_id"].tolist())

    assert classes_found() == {0, 1, 2}
    text = (root / "classes.yaml").read_text()
    (root / "classes.yaml").write_text(text.replace("- 255", "- 255\n- 7").replace("label: 7", "label: 8"))
    assert classes_found() == {0, 1}


def test_a_cache_that_cannot_be_written_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    assert len(index_objects(CamVid(layouts.camvid(tmp_path), "train")))


def test_unknown_labels_are_an_error(tmp_path: Path) -> None:
    dataset = CamVid(layouts.camvid(tmp_path), "train")
    layouts.save(dataset.pairs[1].mask, layouts.quarters([1, 1, 1, 99]))
    with pytest.raises(DataError, match="neither a class nor ignored: 99"):
        index_objects(dataset)
    assert not cache_folder().exists()
