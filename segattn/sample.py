"""The words that every room shares: what a sample and a class are, how an image is brought to the model. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

IGNORE_INDEX = 255
"""The mask value of pixels that neither train nor count."""


class Sample(TypedDict):
    """One image with its ground truth, as a dataset returns it.

    Attributes:
        image: RGB in 0..1; the model normalises, so that every data set serves every encoder.
        mask: class indices 0..num_classes-1, or ``IGNORE_INDEX``, of the image's size.
        name: the image's path relative to the data set's image folder, with forward slashes.
        instances: where the data set has them, instance ids > 0 at annotation resolution; 0 where there is none.
        objects: in evaluation, what ``find_objects`` of the data module made of mask and instances in the worker.
    """

    image: "Float[Tensor, '3 h w']"
    mask: "Int64[Tensor, 'mask_h mask_w']"
    name: str
    instances: "NotRequired[Int64[Tensor, 'mask_h mask_w']]"
    objects: NotRequired[Any]


class Batch(TypedDict):
    """Samples of equal size, stacked: the same keys, with names and objects as lists."""

    image: "Float[Tensor, 'b 3 h w']"
    mask: "Int64[Tensor, 'b mask_h mask_w']"
    name: list[str]
    instances: "NotRequired[Int64[Tensor, 'b mask_h mask_w']]"
    objects: NotRequired[list[Any]]


@dataclass(frozen=True)
class ClassInfo:
    """One class of a data set.

    Attributes:
        name: as the data set spells it.
        color: RGB, each 0..255, for overlays and palettes.
        label_id: the value of this class in the data set's own label files, 0..65535.
        thing: whether it is countable (cars) rather than stuff (sky).
    """

    name: str
    color: tuple[int, int, int]
    label_id: int
    thing: bool = False


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set in the order of their indices. It travels inside every checkpoint.

    Raises:
        ValueError: if it is empty, has more than 255 classes, or two classes share a name or a label id.
    """

    classes: tuple[ClassInfo, ...]

    def __post_init__(self) -> None:
        """Refuse tables that no mask could be read with."""
        if not 1 <= len(self.classes) <= IGNORE_INDEX:
            raise ValueError(f"A class table needs 1 to {IGNORE_INDEX} classes, got {len(self.classes)}.")
        for what, values in (("name", self.names), ("label id", self.label_ids)):
            repeated = sorted({str(value) for value in values if list(values).count(value) > 1})
            if repeated:
                raise ValueError(f"Two classes share the {what} {', '.join(repeated)}; each {what} must be unique.")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by index."""
        return tuple(info.name for info in self.classes)

    @property
    def label_ids(self) -> tuple[int, ...]:
        """The data set's own label ids by index."""
        return tuple(info.label_id for info in self.classes)

    @property
    def things(self) -> tuple[int, ...]:
        """Indices of the thing-like classes; empty where the data set makes no difference."""
        return tuple(index for index, info in enumerate(self.classes) if info.thing)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """Colours by index, shape (classes, 3)."""
        return np.array([info.color for info in self.classes], dtype=np.uint8)

    def to_label_ids(self, indices: npt.NDArray[Any]) -> npt.NDArray[np.unsignedinteger[Any]]:
        """Turn predicted class indices into the data set's own label ids, uint8 where they fit, else uint16."""
        dtype = np.uint8 if max(self.label_ids) <= np.iinfo(np.uint8).max else np.uint16
        return np.take(np.array(self.label_ids, dtype=dtype), indices)

    def to_json(self) -> str:
        """The table as text, for checkpoints and for files beside predictions."""
        return json.dumps([asdict(info) for info in self.classes])

    @classmethod
    def from_json(cls, text: str) -> "ClassTable":
        """The inverse of :meth:`to_json`."""
        return cls.from_dicts(json.loads(text))

    @classmethod
    def from_dicts(cls, classes: Sequence[Mapping[str, Any]]) -> "ClassTable":
        """Build a table from one mapping per class, with the keys of :class:`ClassInfo`."""
        return cls(tuple(ClassInfo(**{**info, "color": tuple(info["color"])}) for info in classes))


@dataclass(frozen=True)
class SizeRule:
    """The size of an image at scale 1, in training and in evaluation. It belongs to the data set.

    Attributes:
        short_side: the image is resized so that its short side has this many pixels; null keeps its size.
        max_long_side: upper bound of the long side after resizing, in pixels; the aspect ratio is kept.

    Raises:
        ValueError: if a length is not positive or has no effect.
    """

    short_side: int | None = None
    max_long_side: int | None = None

    def __post_init__(self) -> None:
        """Validate the lengths."""
        if min(length for length in (self.short_side, self.max_long_side, 1) if length is not None) < 1:
            raise ValueError(f"short_side and max_long_side must be positive, got {self}.")
        if self.max_long_side is not None and self.short_side is None:
            raise ValueError("max_long_side has no effect without short_side.")

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return the size (height, width) at scale 1 of an image of the given size."""
        if self.short_side is None:
            return height, width
        scale = self.short_side / min(height, width)
        if self.max_long_side is not None:
            scale = min(scale, self.max_long_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))
