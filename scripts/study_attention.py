"""Draw what the position attention of docs/size_study.md attends to, and measure it.

    python scripts/study_attention.py --runs runs/controlled/image

The folder contains runs of ``size_study.py`` with the context ``image``, in which the only marker of an image shows
the class of its objects. The picture shows the first new image of each class for the first seed; the table is of many
new images and all seeds.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from draw_gallery import save
from matplotlib.figure import Figure

from segattn.checkpoints import TrainedModel, load_model
from segattn.data.controlled_shapes import CLASSES, ControlledDrawing
from segattn.explain import explain
from segattn.explain.explanation import Explanation

DRAWING = ControlledDrawing(image_size=64, sides=(4.0, 6.0, 9.0, 14.0), context="image")
"""As in configs/controlled.yaml."""


class Scene(NamedTuple):
    """A new image of the controlled set: RGB, the class of its objects, and (x, y) of an object and of the marker."""

    image: np.ndarray
    label: int
    point: tuple[int, int]
    marker: tuple[int, int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="runs of size_study.py")
    parser.add_argument("--images", type=int, default=100, metavar="N", help="images of each class for the table")
    parser.add_argument("--output", type=Path, default=Path("docs/images/study_attention.png"), metavar="FILE")
    given = parser.parse_args(arguments)
    folders = sorted(given.runs.glob("seed_*/position"), key=lambda path: int(path.parent.name.split("_")[1]))
    if not folders:
        parser.error(f"{given.runs} contains no run seed_N/position")
    models = [load_model(folder) for folder in folders]
    save(attention_figure(models[0]), given.output, dpi=100)
    print("| seed | " + " | ".join(f"marker of {name}" for name in CLASSES.names[1:]) + " |\n|---|---|---|")
    for folder, model in zip(folders, models, strict=True):
        cells = [f"{np.mean(near_marker(model, label, given.images)):.2f}" for label in (1, 2)]
        print(f"| {folder.parent.name[5:]} | " + " | ".join(cells) + " |")
    chance = [neighborhood(scene.marker, (8, 8)).mean() for label in (1, 2) for scene in scenes(label, given.images)]
    print(f"equal attention everywhere: {np.mean(chance):.2f}")


def scenes(label: int, number: int) -> Iterator[Scene]:
    """The first ``number`` new images whose objects are of this class."""
    generator = np.random.default_rng(0)
    while number:
        image, mask = DRAWING.scene(generator)
        if mask.max() == label:
            number -= 1
            colored = np.ptp(image.astype(int), axis=-1) > 50  # all but the marker is gray
            _, _, _, centers = cv2.connectedComponentsWithStats(mask)
            yield Scene(image, label, _rounded(centers[1]), _rounded(np.argwhere(colored)[:, ::-1].mean(axis=0)))


def near_marker(model: TrainedModel, label: int, number: int) -> list[float]:
    """The share of the attention of an object that is on the 3x3 positions around the marker, for each image."""
    shares = []
    for scene in scenes(label, number):
        attention = attention_of(explain(model, scene.image, scene.point))
        shares.append(float(attention[neighborhood(scene.marker, attention.shape)].sum()))
    return shares


def attention_of(explanation: Explanation) -> np.ndarray:
    """The attention of the pixel to all positions."""
    (view,) = explanation.views
    return view.maps["attends to"]


def neighborhood(marker: tuple[int, int], size: tuple[int, ...]) -> np.ndarray:
    """The 3x3 positions around a marker, as a mask of the positions."""
    rows, columns = (
        np.arange(cells) - place * cells // DRAWING.image_size for cells, place in zip(size, marker[::-1], strict=True)
    )
    near: np.ndarray = (abs(rows)[:, None] <= 1) & (abs(columns) <= 1)
    return near


def attention_figure(model: TrainedModel) -> Figure:
    """For the first image of each class: the image with the pixel, and the attention of the pixel over it."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for index, axes in enumerate(figure.subplots(1, 4)):
        (scene,) = scenes(1 + index // 2, 1)
        explanation = explain(model, scene.image, scene.point)
        axes.imshow(scene.image if index % 2 == 0 else scene.image.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
        if index % 2:
            attention = explanation.over_image(attention_of(explanation))
            drawn = axes.imshow(attention, cmap="inferno", alpha=np.sqrt(attention / attention.max()), vmin=0, vmax=1)
        axes.plot(*scene.point, marker="+", color="cyan", markersize=10, markeredgewidth=2)
        axes.set_title("attends to" if index % 2 else f"predicted: {explanation.predicted}", fontsize=9)
        axes.set_axis_off()
    figure.colorbar(drawn, ax=figure.axes, shrink=0.8)
    return figure


def _rounded(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


if __name__ == "__main__":
    main()
