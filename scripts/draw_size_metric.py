"""Draw the example of docs/object_size.md: where each true and false pixel of one class is counted.

The pixels are assigned by the slow reference implementation of the tests.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.oracles.object_size import attribute

OUTSIDE = "#f4f4f4"
SMALL, LARGE, FREE = ("#0072b2", "#9ecae8"), ("#d55e00", "#f5c09a"), "#555555"
"""Colors of true pixels and of errors in objects of each size, and of false positives without an object."""

EDGE = 40
"""Objects below this area in pixels are small here."""


def maps() -> tuple[np.ndarray, np.ndarray]:
    """Ground truth and prediction of one class."""
    target, prediction = np.zeros((2, 16, 30), dtype=np.int64)
    target[2:10, 2:11] = 1  # large, found with a shifted outline
    prediction[1:10, 3:12] = 1
    target[3:7, 15:19] = 1  # small, connected to the next one in the prediction
    target[2:9, 22:29] = 1
    prediction[3:7, 15:28] = 1
    target[12:14, 3:7] = 1  # small, missed
    target[12:14, 12:15] = 1  # small, flooded: more false positives than the object has pixels
    prediction[11:15, 11:18] = 1
    prediction[12:14, 24:27] = 1  # invented
    return target, prediction


def color_map(target: np.ndarray, prediction: np.ndarray) -> list[list[str]]:
    """The color of each pixel: the size that it is counted in, dark for true positives and light for errors."""
    colors = [[OUTSIDE] * target.shape[1] for _ in range(target.shape[0])]
    for row in attribute(prediction, target, 1, 255, None):  # type: ignore[no-untyped-call]  # as all tests
        size = SMALL if row["size"] < EDGE else LARGE
        if row["kind"] == "false_positive":
            for y, x in row["pixels"] if not row.get("charged") else ():
                colors[y][x] = FREE
            continue
        for y, x in row["pixels"]:
            colors[y][x] = size[not prediction[y, x]]
        for share in row["shares"]:
            for y, x in share:
                colors[y][x] = size[1]
    return colors


def figure() -> Figure:
    """Draw ground truth, prediction and the sizes that the pixels are counted in."""
    target, prediction = maps()
    drawn = Figure(figsize=(11, 2.7), layout="constrained")
    plain = [np.where(values == 1, "#222222", OUTSIDE).tolist() for values in (target, prediction)]
    panels = {"ground truth": plain[0], "prediction": plain[1], "counted in": color_map(target, prediction)}
    for axes, (title, colors) in zip(drawn.subplots(1, 3), panels.items(), strict=True):
        rgb = np.array([[[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in line] for line in colors])
        axes.imshow(rgb.astype(np.uint8), interpolation="nearest")
        axes.set_xticks(np.arange(-0.5, target.shape[1]), [])
        axes.set_yticks(np.arange(-0.5, target.shape[0]), [])
        axes.tick_params(length=0)
        axes.grid(color="white", linewidth=0.6)
        axes.set_title(title, fontsize=10)
    names = {
        SMALL[0]: "small, true positive",
        SMALL[1]: "small, error",
        LARGE[0]: "large, true positive",
        LARGE[1]: "large, error",
        FREE: "false positive without an object",
    }
    handles = [Patch(color=color, label=name) for color, name in names.items()]
    drawn.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return drawn


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/images/size_metric.png"), metavar="FILE")
    content = io.BytesIO()
    figure().savefig(content, dpi=90, facecolor="white")
    Image.open(content).convert("RGB").quantize(64).save(parser.parse_args().output, optimize=True)


if __name__ == "__main__":
    main()
