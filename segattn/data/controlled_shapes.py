"""Ellipses whose size, thinness, number, occlusion, contrast and context are set independently of each other.

The scenes answer questions such as "which model segments small objects that can only be classified by something far
away?". Each image contains ellipses of two classes that look the same. Only a colored cue shows the class: the object
itself, or a square marker at a place that ``context`` names. Labels are exact: a pixel belongs to an object if at
least half of it is covered, and everything else, such as markers and occluders, is background.

Positions, sizes, angles, classes, markers and textures have random streams of their own. Changing one parameter keeps
the random numbers of all others.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, get_args

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from segattn.data.shapes import Drawing
from segattn.io.cache_folder import cache_folder
from segattn.sample import ClassInfo, ClassTable

Context = Literal["none", "neighbor", "row", "column", "image"]

CLASSES = ClassTable(
    (
        ClassInfo("background", (128, 128, 128), 0),
        ClassInfo("a", (220, 50, 47), 1, thing=True),
        ClassInfo("b", (38, 90, 210), 2, thing=True),
    )
)

MARKER = 4  # side of a marker in pixels
_CUES = ((230, 90, 80), (80, 120, 230))  # colors of the markers of the classes a and b
_NEUTRAL, _GROUND, _OCCLUDER = 200.0, 100.0, 40.0  # gray of objects at contrast 1, of the background, of occluders
_GRID = 4  # subpixels per pixel and axis


class _Object(NamedTuple):
    """An ellipse: center (y, x), half axes along and across, angle, and where it is cut along the long axis."""

    y: float
    x: float
    along: float
    across: float
    angle: float
    cut: float

    def reach(self, axis: int) -> float:
        """Half the extent of the uncut ellipse along y (axis 0) or x (axis 1)."""
        turned = self.angle + axis * math.pi / 2
        return math.hypot(self.along * math.sin(turned), self.across * math.cos(turned))


@dataclass(frozen=True)
class ControlledDrawing(Drawing):
    """The parameters of the scenes, and the number of images.

    Attributes:
        image_size: side length of the images in pixels.
        sides: object sizes, of which each object has a random one: the side of a square of the same visible area.
        thinness: length of an unoccluded object divided by its width, at least 1. The area stays the same.
        number: objects per image.
        occlusion: share of each object that an occluder hides, 0 to below 0.5. The object extends by as much under the
            occluder, so that its visible area stays the same.
        contrast: 0 to 1, factor of the difference between the colors of objects and background.
        context: what shows the class of an object: ``none``, its own color; ``neighbor``, a marker that touches it;
            ``row`` or ``column``, a marker in the row or column of its center; ``image``, one marker anywhere, and all
            objects of the image have its class.

    Raises:
        ValueError: if a parameter is out of range, or so many objects of the largest size do not fit.
    """

    classes: ClassVar[ClassTable] = CLASSES
    title: ClassVar[str] = "ControlledShapes"

    image_size: int = 96
    num_train: int = 400
    num_val: int = 200
    sides: tuple[float, ...] = (5.0, 8.0, 13.0, 20.0)
    thinness: float = 1.0
    number: int = 2
    occlusion: float = 0.0
    contrast: float = 1.0
    context: Context = "none"

    def __post_init__(self) -> None:
        """Validate the arguments."""
        super().__post_init__()
        object.__setattr__(self, "sides", tuple(map(float, self.sides)))
        if not self.sides or min(self.sides) < 2:
            raise ValueError(f"sides must be object sizes of at least 2 pixels, got {list(self.sides)}.")
        if self.thinness < 1 or self.number < 1:
            raise ValueError(
                f"thinness and number must be at least 1, got thinness {self.thinness} and number {self.number}."
            )
        if not 0 <= self.occlusion < 0.5 or not 0 < self.contrast <= 1:
            raise ValueError(
                f"occlusion must be in 0..0.5, without 0.5, and contrast in 0..1, without 0; got occlusion "
                f"{self.occlusion} and contrast {self.contrast}."
            )
        if self.context not in get_args(Context):
            raise ValueError(f"context must be one of {', '.join(get_args(Context))}, got {self.context!r}.")
        if self.number * self._cell() > self.image_size:
            raise ValueError(
                f"{self.number} objects with sides up to {max(self.sides):g} pixels do not fit: image_size must be at "
                f"least {self.number * self._cell()}, got {self.image_size}; or draw fewer or smaller objects."
            )

    def default_root(self) -> Path:
        """The folder in the user's cache for this drawing."""
        digest = hashlib.sha256(self.description().encode()).hexdigest()[:12]
        return cache_folder() / f"controlled-shapes-v{self.version}-{self.context}-{digest}"

    def scene(
        self, generator: np.random.Generator
    ) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
        """Draw an RGB image and its mask of class indices."""
        layout, shapes, classes, places, textures = generator.spawn(5)
        corners, cell = self._corners(layout), self._cell()
        objects = [self._object(shapes, corner) for corner in corners]
        labels = classes.integers(1, 3, size=self.number)
        if self.context == "image":
            labels[:] = labels[0]
        canvas = _GROUND + 15 * _smooth_noise(textures, self.image_size)[..., None].repeat(3, axis=-1)
        mask = np.zeros((self.image_size, self.image_size), dtype=np.uint8)
        for each, (y, x), label in zip(objects, corners, labels.tolist(), strict=True):
            box = (slice(y, y + cell), slice(x, x + cell))
            visible, hidden = self._coverage(each, (y, x))
            color = np.array(_CUES[label - 1] if self.context == "none" else _NEUTRAL, dtype=np.float32)
            shading = 8 * _smooth_noise(textures, cell)[..., None]
            canvas[box] += self.contrast * visible[..., None] * (color + shading - canvas[box])
            canvas[box] += hidden[..., None] * (_OCCLUDER - canvas[box])
            mask[box][visible >= 0.5] = label
        for y, x, label in self._markers(places, objects, corners, labels.tolist()):
            canvas[y : y + MARKER, x : x + MARKER] = _CUES[label - 1]
        canvas += textures.normal(0, 4, size=(self.image_size, self.image_size, 1)).astype(np.float32)
        return np.clip(canvas, 0, 255).astype(np.uint8), mask

    def _half_axes(self, side: float) -> tuple[float, float]:
        """Half axes along and across of an ellipse whose visible part has an area of side²."""
        across = side / math.sqrt(math.pi * self.thinness)
        return across * self.thinness / (1 - self.occlusion), across

    def _cell(self) -> int:
        """Side of the square that is kept free for an object of the largest size, its occluder and a marker."""
        along, across = self._half_axes(max(self.sides))
        reach = math.hypot(along + 1, across + 1) if self.occlusion else along
        return 2 * math.ceil(reach + MARKER + 1)

    def _corners(self, generator: np.random.Generator) -> list[tuple[int, int]]:
        """Top left corners (y, x) of the cells. No two cells share a row or a column."""
        spare = self.image_size - self.number * self._cell()
        starts = [
            np.sort(generator.integers(0, spare + 1, size=self.number)) + np.arange(self.number) * self._cell()
            for _ in range(2)
        ]
        return [(int(y), int(x)) for y, x in zip(starts[0], generator.permutation(starts[1]), strict=True)]

    def _object(self, generator: np.random.Generator, corner: tuple[int, int]) -> _Object:
        """An object of random size and angle in the middle of its cell."""
        along, across = self._half_axes(self.sides[int(generator.integers(len(self.sides)))])
        shift_y, shift_x, turn = generator.uniform(0, 1, size=3)  # of less than a pixel
        y, x = (start + self._cell() / 2 - shift for start, shift in zip(corner, (shift_y, shift_x), strict=True))
        return _Object(y, x, along, across, float(turn * 2 * math.pi), along * _cut(self.occlusion))

    def _coverage(
        self, each: _Object, corner: tuple[int, int]
    ) -> tuple[Float32[np.ndarray, "cell cell"], Float32[np.ndarray, "cell cell"]]:
        """Share of each pixel of its cell that the object covers, and share that its occluder covers."""
        middles = (np.arange(self._cell() * _GRID) + 0.5) / _GRID
        y, x = (middles + start - center for start, center in zip(corner, (each.y, each.x), strict=True))
        y, x = y[:, None], x[None, :]
        u = x * math.cos(each.angle) + y * math.sin(each.angle)
        v = y * math.cos(each.angle) - x * math.sin(each.angle)
        hidden = (u > each.cut) & (u < each.along + 1) & (abs(v) < each.across + 1) & (self.occlusion > 0)
        visible = ((u / each.along) ** 2 + (v / each.across) ** 2 <= 1) & ~hidden
        return _pixel_means(visible), _pixel_means(hidden)

    def _markers(
        self,
        generator: np.random.Generator,
        objects: list[_Object],
        corners: list[tuple[int, int]],
        labels: list[int],
    ) -> list[tuple[int, int, int]]:
        """Top left corner (y, x) and class of every marker. Only neighbors reach into the cell of an object."""
        if self.context == "none":
            return []
        last, cell = self.image_size - MARKER, self._cell()
        if self.context == "image":
            free = np.ones((last + 1, last + 1), dtype=bool)
            for y, x in corners:
                free[max(0, y - MARKER + 1) : y + cell, max(0, x - MARKER + 1) : x + cell] = False
            place = int(generator.choice(np.flatnonzero(free)))
            return [(*divmod(place, last + 1), labels[0])]
        markers = []
        for each, corner, label in zip(objects, corners, labels, strict=True):
            middle = [round(each.y - MARKER / 2), round(each.x - MARKER / 2)]
            axis = {"row": 1, "column": 0}.get(self.context)
            if axis is None:  # a neighbor, on one of four sides
                axis, sign = int(generator.integers(2)), int(generator.choice([-1, 1]))
                gap = math.ceil(each.reach(axis))
                middle[axis] += sign * (gap + MARKER // 2)
            else:
                far = [place for place in range(last + 1) if not -MARKER < place - corner[axis] < cell]
                middle[axis] = int(generator.choice(far))
            markers.append((middle[0], middle[1], label))
        return markers


def _cut(occlusion: float) -> float:
    """Where a straight cut hides this share of a disk of radius 1: the distance from its center."""
    angles = np.linspace(0, np.pi / 2, 2001)
    shares = (angles - np.sin(angles) * np.cos(angles)) / np.pi  # of the segment beyond the cut at cos(angle)
    return float(np.cos(np.interp(occlusion, shares, angles)))


def _pixel_means(inside: Bool[np.ndarray, "fine fine"]) -> Float32[np.ndarray, "cell cell"]:
    size = len(inside) // _GRID
    means: Float32[np.ndarray, "cell cell"] = inside.reshape(size, _GRID, size, _GRID).mean((1, 3), dtype=np.float32)
    return means


def _smooth_noise(generator: np.random.Generator, size: int) -> Float32[np.ndarray, "size size"]:
    """Noise of mean 0 and a standard deviation of about 1 that varies over some 12 pixels."""
    coarse = generator.normal(0, 1.4, size=(2 + size // 12, 2 + size // 12)).astype(np.float32)
    smooth: Float32[np.ndarray, "size size"] = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return smooth
