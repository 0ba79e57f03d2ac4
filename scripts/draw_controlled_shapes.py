"""Draw examples of the data set ControlledShapes for docs/size_study.md: one row per parameter."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from segattn.data.controlled_shapes import ControlledDrawing

ROWS: Sequence[tuple[str, Sequence[Any]]] = (
    ("context", ("none", "neighbor", "row", "column", "image")),
    ("sides", ((5.0,), (8.0,), (13.0,), (20.0,), (5.0, 8.0, 13.0, 20.0))),
    ("thinness", (1.0, 2.0, 4.0, 6.0, 8.0)),
    ("number", (1, 2, 3, 4, 6)),
    ("occlusion", (0.0, 0.1, 0.2, 0.3, 0.4)),
    ("contrast", (1.0, 0.6, 0.4, 0.2, 0.1)),
)
BASE = {"image_size": 112, "sides": (10.0,), "context": "none", "number": 2}


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/images/controlled_shapes.jpg"), metavar="FILE")
    rows = [np.hstack([_tile(name, value) for value in values]) for name, values in ROWS]
    Image.fromarray(np.vstack(rows)).save(parser.parse_args().output, quality=60)


def _tile(name: str, value: Any) -> np.ndarray:
    size = {"image_size": 140} if name == "number" and value > 4 else {}
    image, _ = ControlledDrawing(**{**BASE, **size, name: value}).scene(np.random.default_rng(38))
    picture = np.ascontiguousarray(image[:112, :112])
    shown = " ".join(f"{side:g}" for side in value) if isinstance(value, tuple) else str(value)
    picture = np.pad(picture, ((14, 4), (0, 4), (0, 0)), constant_values=255)
    cv2.putText(picture, f"{name} {shown}", (2, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


if __name__ == "__main__":
    main()
