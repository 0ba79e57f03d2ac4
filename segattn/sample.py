"""Types that all packages share: samples, batches, classes, the size of images. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

    from segattn.objects.ground_truth import TargetObjects

IGNORE_INDEX = 255
"""The mask value of pixels that are excluded from training and scores."""


class Sample(TypedDict):
    """An image with its ground truth, as a data set returns it.

    Attributes:
        image: RGB in 0..1, or the channels of the data set. The model normalizes, so that every data set works with
            every encoder.
        mask: class indices 0..num_classes-1, or ``IGNORE_INDEX``, at the size of the image.
        name: path of the image relative to the image folder of the data set, with forward slashes.
        instances: instance ids > 0, or 0 where there is no instance; only if the data set has them.
        objects: the objects of the ground truth; only in evaluation.
    """

    image: "Float[Tensor, 'c h w']"
    mask: "Int64[Tensor, 'h w']"
    name: str
    instances: "NotRequired[Int64[Tensor, 'h w']]"
    objects: "NotRequired[TargetObjects]"


class Batch(TypedDict):
    """Stacked samples of equal size: the same keys, with names and objects as lists."""

    image: "Float[Tensor, 'b c h w']"
    mask: "Int64[Tensor, 'b h w']"
    name: list[str]
    instances: "NotRequired[Int64[Tensor, 'b h w']]"
    objects: "NotRequired[list[TargetObjects]]"


@dataclass(frozen=True)
class ClassInfo:
    """A class of a data set.

    Attributes:
        name: the name, spelled as in the data set.
        color: RGB, each 0..255, for overlays and palettes.
        label_id: the value of the class in the label files of the data set, 0..65535.
        thing: whether it is countable (cars) rather than stuff (sky).

    Raises:
        ValueError: if the color or the label id is out of range.
    """

    name: str
    color: tuple[int, int, int]
    label_id: int
    thing: bool = False

    def __post_init__(self) -> None:
        """Validate the arguments."""
        if self.label_id not in range(1 << 16):
            raise ValueError(f"The label id of the class {self.name!r} must be 0 to 65535, got {self.label_id!r}.")
        if len(self.color) != 3 or not all(value in range(256) for value in self.color):
            raise ValueError(f"The color of the class {self.name!r} must be three numbers 0 to 255, got {self.color}.")


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set in the order of their indices. Every checkpoint contains it.

    Raises:
        ValueError: if it is empty or has more than 255 classes, if two classes share a name or a label id, or if a name
            is blank or has control characters.
    """

    classes: tuple[ClassInfo, ...]

    def __post_init__(self) -> None:
        """Validate the arguments."""
        if not 1 <= len(self.classes) <= IGNORE_INDEX:
            raise ValueError(f"A class table needs 1 to {IGNORE_INDEX} classes, got {len(self.classes)}.")
        require_visible_text("class name", self.names)
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
        """Label ids by index."""
        return tuple(info.label_id for info in self.classes)

    @property
    def things(self) -> tuple[int, ...]:
        """Indices of the thing classes; empty if the data set does not distinguish them."""
        return tuple(index for index, info in enumerate(self.classes) if info.thing)

    @property
    def palette(self) -> npt.NDArray[np.uint8]:
        """Colors by index, shape (classes, 3)."""
        return np.array([info.color for info in self.classes], dtype=np.uint8)

    def to_label_ids(self, indices: npt.NDArray[Any]) -> npt.NDArray[np.unsignedinteger[Any]]:
        """Convert class indices to label ids, uint8 if they fit, else uint16."""
        dtype = np.uint8 if max(self.label_ids) <= np.iinfo(np.uint8).max else np.uint16
        return np.take(np.array(self.label_ids, dtype=dtype), indices)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per class, with the fields of :class:`ClassInfo`."""
        return [asdict(info) for info in self.classes]

    @classmethod
    def from_dicts(cls, classes: Sequence[Mapping[str, Any]]) -> "ClassTable":
        """The inverse of :meth:`to_dicts`."""
        return cls(tuple(ClassInfo(**{**info, "color": tuple(info["color"])}) for info in classes))


def require_visible_text(what: str, names: Iterable[str]) -> None:
    """Raise a ValueError if a name, which tables and figures show as it is, is blank or has control characters."""
    for name in names:
        if not name.isprintable() or not name.strip():
            raise ValueError(f"A {what} must be visible text in one line, got {name!r}.")


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
        """Validate the arguments."""
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
