import json
import multiprocessing
from pathlib import Path

import cc3d
import numpy as np
import pytest

from segattn.data import Shapes, ShapesDataModule
from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.scenes import CLASSES, _coverage, draw_scene
from segattn.data.shapes import Drawing, draw_shapes
from segattn.sample import IGNORE_INDEX

TINY = Drawing(image_size=40, num_train=3, num_val=2, num_test=1)


def content(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_drawing_is_deterministic(tmp_path: Path) -> None:
    draw_shapes(tmp_path / "a", TINY)
    draw_shapes(tmp_path / "b" / "c", TINY)
    assert content(tmp_path / "a") == content(tmp_path / "b" / "c")
    assert sorted(content(tmp_path / "a"))[:3] == [
        "annotations/test/00000.png",
        "annotations/train/00000.png",
        "annotations/train/00001.png",
    ]
    for number, split in enumerate(("train", "val", "test")):
        image, mask = draw_scene(np.random.default_rng([1, number, 0]), 40)
        raw = Shapes(tmp_path / "a", split, drawing=TINY).read(0)
        np.testing.assert_array_equal(raw.image, image)
        np.testing.assert_array_equal(raw.mask, mask)


def test_existing_images_are_not_drawn_again(tmp_path: Path) -> None:
    assert len(Shapes(tmp_path / "shapes", drawing=TINY)) == 3
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert len(Shapes(tmp_path / "shapes", "test", drawing=TINY)) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_test_images_are_optional(tmp_path: Path) -> None:
    drawing = Drawing(image_size=40, num_train=1, num_val=1)
    with pytest.raises(DataNotFoundError, match="Shapes has no test images unless num_test is positive"):
        Shapes(tmp_path / "shapes", "test", drawing=drawing)
    assert len(Shapes(tmp_path / "shapes", "val", drawing=drawing)) == 1


def test_several_processes_can_draw_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=draw_shapes, args=(tmp_path / "shapes", TINY)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]
    assert len(content(tmp_path / "shapes")) == 13


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("segattn.data.shapes.draw_scene", broken)
    with pytest.raises(KeyboardInterrupt):
        draw_shapes(tmp_path / "shapes", TINY)
    assert not list(tmp_path.iterdir())


def test_other_folders_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"contains other files instead of .*; use another root"):
        draw_shapes(tmp_path, TINY)
    draw_shapes(tmp_path / "shapes", TINY)
    with pytest.raises(
        DataError, match=r"contains \{'image_size': 40, .* instead of \{'image_size': 48, .*use another"
    ):
        draw_shapes(tmp_path / "shapes", Drawing(image_size=48, num_train=3, num_val=2))
    assert json.loads((tmp_path / "shapes" / "shapes.json").read_text())["num_val"] == 2


def test_the_default_root_is_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module = ShapesDataModule(image_size=40, num_train=3, num_val=2, num_test=1)
    assert module.root.parent == tmp_path / "segattn"
    assert not module.root.exists()
    module.prepare_data()
    assert len(Shapes(drawing=TINY)) == 3
    assert [path.name for path in (tmp_path / "segattn").iterdir()] == [module.root.name]


@pytest.mark.parametrize("wrong", [{"image_size": 8}, {"num_train": 0}, {"num_val": 0}, {"num_test": -1}])
def test_invalid_sizes_are_rejected(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        ShapesDataModule(**wrong)


def test_all_classes_and_sizes_are_common() -> None:
    scenes = [draw_scene(np.random.default_rng([0, index]), 224)[1] for index in range(60)]
    counts = np.zeros((len(CLASSES), 3), dtype=int)
    for mask in scenes:
        assert set(np.unique(mask)) <= {*range(len(CLASSES)), IGNORE_INDEX}
        assert 0 < (mask == IGNORE_INDEX).mean() < 0.15
        for index in range(len(CLASSES)):
            areas = np.bincount(cc3d.connected_components(mask == index, connectivity=8).ravel())[1:]
            counts[index] += np.histogram(areas, bins=[1, 32**2, 96**2, 224**2])[0]
    assert (counts[1:, :2] > 15).all()
    assert counts[1:, 2].sum() > 25
    assert (counts[[1, 3, 6], 2] > 2).all()


def test_objects_have_about_the_requested_area() -> None:
    for index in range(1, len(CLASSES)):
        for side in (12.0, 25.0, 40.0):
            coverage, box = _coverage(np.random.default_rng(index), index, side, 224)
            assert np.sqrt(coverage.sum()) == pytest.approx(
                side, abs=3
            )  # OpenCV fills partly covered pixels, at both edges of a ring
            assert coverage.shape == tuple(part.stop - part.start for part in box)
