"""Drawing of the scenes of the Shapes data set.

Object sizes are log-uniform, so that small, medium and large objects are all common. Every color family contains a
solid and a thin class, so that color alone does not separate the classes.
"""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from segattn.data.class_file import LabelScheme
from segattn.sample import IGNORE_INDEX

CLASSES = LabelScheme.read(Path(__file__).with_name("shapes_classes.yaml")).classes

Points = Float32[np.ndarray, "points 2"]

_SMALLEST_SIDE = 10.0
_LARGEST_SHARE = 0.85  # of the image's side
_HUES = (0, 0, 0, 110, 110, 55, 55)  # by class, in OpenCV's 0..179; the background has a random hue
_SHIFT = 4  # bits of a fraction: OpenCV draws with coordinates of 1/16 pixel


def draw_scene(
    generator: np.random.Generator, size: int
) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
    """Draw an RGB image and its mask of class indices, in which every object has an ignored outline of one pixel."""
    canvas = _texture(generator, (size, size), hue=int(generator.integers(180)), saturation=int(generator.integers(60)))
    mask = np.zeros((size, size), dtype=np.uint8)
    sides = np.exp(generator.uniform(np.log(_SMALLEST_SIDE), np.log(_LARGEST_SHARE * size), generator.integers(4, 9)))
    for side in sorted(sides.tolist(), reverse=True):  # small objects on top
        index = int(generator.integers(1, len(CLASSES)))
        coverage, box = _coverage(generator, index, side, size)
        paint = _texture(generator, coverage.shape, hue=_HUES[index], saturation=int(generator.integers(110, 220)))
        canvas[box] += coverage[..., None] * (paint - canvas[box])
        inside = coverage >= 0.5
        mask[box][cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0] = IGNORE_INDEX
        mask[box][inside] = index
    canvas += generator.normal(0, 4, size=(size, size, 1)).astype(np.float32)
    return np.clip(canvas, 0, 255).astype(np.uint8), mask


def _texture(
    generator: np.random.Generator, shape: tuple[int, ...], *, hue: int, saturation: int
) -> Float32[np.ndarray, "h w 3"]:
    """Draw smooth patches or stripes of one hue and varying brightness."""
    if generator.random() < 0.5:
        cells = generator.random([2 + side // int(generator.integers(12, 48)) for side in shape], dtype=np.float32)
        pattern = cv2.resize(cells, shape[::-1], interpolation=cv2.INTER_CUBIC)
    else:
        angle, period = generator.uniform(0, np.pi), generator.uniform(6, 40)
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        phase = (rows * np.sin(angle) + columns * np.cos(angle)) * (2 * np.pi / period)
        pattern = 0.5 + 0.5 * np.sin(phase, dtype=np.float32)
    darkest, contrast = generator.uniform(60, 150), generator.uniform(30, 90)
    varied = round(hue + generator.normal(0, 6)) % 180
    hsv = np.empty((*shape, 3), dtype=np.uint8)
    hsv[..., :2] = varied, saturation
    hsv[..., 2] = np.clip(darkest + contrast * pattern, 0, 255)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)


def _coverage(
    generator: np.random.Generator, index: int, side: float, size: int
) -> tuple[Float32[np.ndarray, "h w"], tuple[slice, slice]]:
    """Draw an object of a class with an area of side² at a random position and angle.

    Returns:
        The coverage of pixels in 0..1 inside a box around the object, and that box as (rows, columns) of the image.
    """
    angle = generator.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=np.float32)
    margin = 0.1 * size + 0.25 * side  # of the center from the image's edge: large objects stay near the middle
    center = generator.uniform(margin, size - margin, size=2)
    outlines = [outline @ rotation.T + center for outline in _outlines(CLASSES.names[index], side)]
    corners = np.concatenate(outlines)
    low = np.clip(np.floor(corners.min(axis=0)) - 2, 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 3, 0, size).astype(int)
    canvas = np.zeros((high - low)[::-1], dtype=np.uint8)
    points = [np.rint((outline - low) * (1 << _SHIFT)).astype(np.int32) for outline in outlines]
    cv2.fillPoly(canvas, points, 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    box = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
    return canvas.astype(np.float32) / 255, box


def _circle(radius: float) -> Points:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return (radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)).astype(np.float32)


def _rectangle(width: float, height: float) -> Points:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float32)
    return corners * np.array([width / 2, height / 2], dtype=np.float32)


def _cross(width: float) -> Points:
    """Two arms, five times as long as wide."""
    half, long = width / 2, width * 2.5
    quarter = np.array([[half, half], [half, long], [-half, long]], dtype=np.float32)
    rotations = [np.array([[c, -s], [s, c]], dtype=np.float32) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return np.concatenate([quarter @ rotation.T for rotation in rotations])


def _outlines(name: str, side: float) -> list[Points]:
    """Outlines of a class around the origin; filled by the even-odd rule, they have an area of side²."""
    match name:
        case "disk":
            return [_circle(side / np.sqrt(np.pi))]
        case "ring":  # the hole has 0.75 of the radius
            radius = side / np.sqrt(np.pi * (1 - 0.75**2))
            return [_circle(radius), _circle(0.75 * radius)]
        case "square":
            return [_rectangle(side, side)]
        case "bar":  # eight times as long as wide
            return [_rectangle(side * np.sqrt(8), side / np.sqrt(8))]
        case "triangle":  # equilateral
            return [_circle(side * np.sqrt(4 / np.sqrt(27)))[[0, 21, 43]]]
    return [_cross(side / 3)]
