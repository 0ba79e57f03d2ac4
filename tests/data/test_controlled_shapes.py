from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segattn.data import ControlledShapesDataModule, Shapes
from segattn.data.controlled_shapes import CLASSES, MARKER, ControlledDrawing
from segattn.metrics.functional import object_rows

BASE = ControlledDrawing(image_size=160, sides=(12.0,), context="row")
CONTEXTS = ("none", "neighbor", "row", "column", "image")
Scene = tuple[np.ndarray, np.ndarray]


def scene(drawing: ControlledDrawing, index: int) -> Scene:
    return drawing.scene(np.random.default_rng([7, index]))


def objects(drawing: ControlledDrawing, index: int) -> dict[str, np.ndarray]:
    """Columns of the object record of the objects of a scene, without the background."""
    mask = scene(drawing, index)[1]
    rows = object_rows(mask, mask, len(CLASSES))
    kept = rows["class_id"] > 0
    return {name: values[kept] for name, values in rows.items()}


def mean(drawing: ControlledDrawing, column: str, images: int = 8) -> float:
    return float(np.concatenate([objects(drawing, index)[column] for index in range(images)]).mean())


def contrast(drawing: ControlledDrawing) -> float:
    """Mean difference in gray between objects and the rest of the image."""
    parts = [(image.mean(-1), mask) for image, mask in (scene(drawing, index) for index in range(8))]
    return float(np.mean([gray[mask > 0].mean() - gray[mask == 0].mean() for gray, mask in parts]))


def measured(drawing: ControlledDrawing) -> dict[str, float]:
    """What the size metric measures: area, length by width, number; and the contrast of the image."""
    return {
        "size": mean(drawing, "size_px") ** 0.5,
        "elongation": mean(drawing, "elongation"),
        "number": float(np.mean([len(objects(drawing, index)["size_px"]) for index in range(8)])),
        "contrast": contrast(drawing),
    }


@pytest.mark.parametrize(
    ("change", "named", "expected"),
    [
        ({"sides": (24.0,)}, "size", 2.0),
        ({"thinness": 4.0}, "elongation", 4.0),
        ({"number": 4}, "number", 2.0),
        ({"contrast": 0.25}, "contrast", 0.25),
        ({"occlusion": 0.25}, "nothing", 1.0),
        ({"context": "column"}, "nothing", 1.0),
        ({"context": "image"}, "nothing", 1.0),
        ({"context": "neighbor"}, "nothing", 1.0),
    ],
)
def test_a_parameter_changes_only_what_it_names(change: dict[str, Any], named: str, expected: float) -> None:
    before, after = measured(BASE), measured(replace(BASE, **change))
    for key in before:
        ratio = after[key] / before[key]
        # The widest circle inside an occluded ellipse is a little smaller, so its measured elongation is larger.
        # The background is not uniform, which changes the contrast by chance.
        tolerance = {"elongation": 0.2, "contrast": 0.1}.get(key, 0.04)
        assert ratio == pytest.approx(expected if key == named else 1.0, rel=tolerance), key


def test_occlusion_hides_the_stated_share() -> None:
    """The occluder replaces the end of an ellipse whose complete area is larger by the stated share."""
    drawing = replace(BASE, occlusion=0.25, number=1)
    for index in range(4):
        (along, across), area = drawing._half_axes(12.0), objects(drawing, index)["size_px"][0]
        assert area == pytest.approx((1 - 0.25) * np.pi * along * across, rel=0.05)
        image, mask = scene(drawing, index)
        dark = (abs(image.astype(int) - 40).max(-1) < 15) & (mask == 0)
        assert dark.sum() > 0.25 * area
        assert not ((abs(scene(BASE, index)[0].astype(int) - 40).max(-1) < 15) & (scene(BASE, index)[1] > 0)).any()


def test_every_size_of_a_mixture_is_drawn() -> None:
    drawing = replace(BASE, sides=(5.0, 9.0, 16.0))
    sides = np.sqrt(np.concatenate([objects(drawing, index)["size_px"] for index in range(20)]))
    nearest = abs(sides[:, None] - [[5, 9, 16]]).argmin(1)
    assert (np.bincount(nearest, minlength=3) >= 5).all()
    assert abs(sides - np.array([5, 9, 16])[nearest]).max() < 0.5


@pytest.mark.parametrize("context", ["row", "image"])
def test_classes_are_drawn_for_each_object_or_for_the_image(context: str) -> None:
    drawing = replace(BASE, context=context)
    classes = np.array([objects(drawing, index)["class_id"] for index in range(24)])
    assert 0.25 < (classes == 1).mean() < 0.75
    assert (classes[:, 0] == classes[:, 1]).all() == (context == "image")


def test_scenes_are_deterministic_and_labels_are_exact() -> None:
    for index, context in enumerate(CONTEXTS):
        drawing = replace(BASE, context=context)
        for first, second in zip(scene(drawing, index), scene(drawing, index), strict=True):
            np.testing.assert_array_equal(first, second)
        image, mask = scene(drawing, index)
        assert image.shape == (160, 160, 3)
        assert set(np.unique(mask)) <= {0, 1, 2}
        np.testing.assert_array_equal(mask > 0, scene(BASE, index)[1] > 0)  # the context moves no object
        if context != "none":  # objects are much brighter than the background, and markers are not gray
            bright = (image.mean(-1) > 160) & (np.ptp(image.astype(int), axis=-1) < 3)
            inside, square = (mask > 0).astype(np.uint8), np.ones((3, 3), np.uint8)
            assert bright[cv2.erode(inside, square) > 0].all()  # pixels of the outline are partly covered
            assert bright[cv2.dilate(inside, square) == 0].mean() < 0.001


class FlippedDraws(np.random.Generator):
    """Draws 2 where the original draws 1, and the reverse."""

    def integers(self, *args: Any, **kwargs: Any) -> Any:
        return 3 - super().integers(*args, **kwargs)


class OtherClasses(np.random.Generator):
    """Exchanges the classes of all objects, and leaves the other random streams as they are."""

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        children = list(np.random.Generator(self.bit_generator).spawn(n_children))
        children[2] = FlippedDraws(children[2].bit_generator)
        return children


@pytest.mark.parametrize("context", CONTEXTS[1:])
def test_only_the_marker_shows_the_class(context: str) -> None:
    """Exchanging the classes changes no pixel outside the markers, so without them both look exactly the same."""
    drawing = replace(BASE, context=context)
    for index in range(6):
        image, mask = scene(drawing, index)
        other, other_mask = drawing.scene(OtherClasses(np.random.default_rng([7, index]).bit_generator))
        np.testing.assert_array_equal(other_mask, np.where(mask > 0, 3 - mask, 0))
        changed = (image != other).any(-1)
        assert changed.sum() == MARKER**2 * (1 if context == "image" else 2)
        assert not changed[mask > 0].any()


def marker_places(image: np.ndarray) -> dict[int, list[tuple[float, float]]]:
    """Centers (y, x) of the red and the blue marker pixels, by class, one entry per marker."""
    red, blue = image[..., 0].astype(int), image[..., 2].astype(int)
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for label, pixels in ((1, red - blue > 80), (2, blue - red > 80)):
        rows = object_rows(pixels.astype(np.uint8), pixels.astype(np.uint8), 2)
        for index in np.flatnonzero(rows["class_id"] == 1):
            found[label].append(
                ((rows["y0"][index] + rows["y1"][index]) / 2, (rows["x0"][index] + rows["x1"][index]) / 2)
            )
    return found


@pytest.mark.parametrize("context", CONTEXTS[1:])
def test_markers_are_where_the_context_says(context: str) -> None:
    drawing = replace(BASE, context=context)
    for index in range(12):
        rows, markers = objects(drawing, index), marker_places(scene(drawing, index)[0])
        assert sum(map(len, markers.values())) == (1 if context == "image" else 2)
        for number, label in enumerate(rows["class_id"]):
            y, x = (float(rows[f"{axis}0"][number] + rows[f"{axis}1"][number]) / 2 for axis in "yx")
            offsets = np.abs([(at_y - y, at_x - x) for at_y, at_x in markers[label]])
            others = np.abs([(at_y - y, at_x - x) for at_y, at_x in markers[3 - label]]).reshape(-1, 2)
            if context == "image":
                assert len(others) == 0
                continue
            distance = {"row": 0, "column": 1}.get(context)
            near = offsets.max(1) if distance is None else offsets[:, distance]
            near_others = others.max(1) if distance is None else others[:, distance]
            if distance is None:  # it touches the object: a gap below 2 pixels
                assert near.min() <= drawing._half_axes(12.0)[0] + MARKER / 2 + 2
            else:
                assert near.min() <= 1.5
                assert offsets[near.argmin(), 1 - distance] > drawing._cell() / 2
            assert (near_others > drawing._half_axes(12.0)[0] + MARKER / 2 + 2).all()


def test_images_are_drawn_once_and_read_back(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "image_size": 64,
        "num_train": 3,
        "num_val": 2,
        "sides": (5.0, 8.0),
        "context": "column",
    }
    module = ControlledShapesDataModule(str(tmp_path / "drawn"), **arguments)
    module.prepare_data()
    module.prepare_data()
    raw = module.dataset("train").read(2)
    expected = ControlledDrawing(**arguments).scene(np.random.default_rng([1, 0, 2]))
    np.testing.assert_array_equal(raw.image, expected[0])
    np.testing.assert_array_equal(raw.mask, expected[1])
    assert module.classes.names == ("background", "a", "b")
    other = ControlledDrawing(**arguments | {"context": "row"})
    assert other.default_root() != ControlledDrawing(**arguments).default_root()
    with pytest.raises(ValueError, match=r"'context': 'column'.* instead of .*'context': 'row'"):
        Shapes(tmp_path / "drawn", drawing=other)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sides": ()}, "sides must be object sizes of at least 2 pixels, got"),
        ({"sides": (1.0, 8.0)}, "at least 2 pixels"),
        ({"thinness": 0.5}, "thinness and number must be at least 1, got thinness 0.5"),
        ({"number": 0}, "at least 1, got thinness 1.0 and number 0"),
        ({"occlusion": 0.5}, "occlusion must be in 0..0.5"),
        ({"contrast": 0.0}, "contrast in 0..1, without 0"),
        ({"number": 3}, "3 objects with sides up to 20 pixels do not fit: image_size must be at least 102, got 96"),
    ],
)
def test_wrong_parameters_are_rejected(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ControlledShapesDataModule(**wrong)
