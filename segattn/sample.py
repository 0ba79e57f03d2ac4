"""The words that every room shares: what a sample and a class are, how an image is brought to the model. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
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
        mask: class indices 0..num_classes-1, or ``IGNORE_INDEX``. In validation it keeps the size of the annotation
            while the image may be resized, so the two shapes can differ.
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
    """How a whole image is brought to the model at test time. It travels inside every checkpoint.

    The logits are always brought back to the size of the annotation (or of the image) before argmax.

    Attributes:
        short_side: resize so that the short side has this many pixels; None keeps the image's size.
        max_long_side: upper bound for the long side when resizing; the ratio is kept.
        window: side (h, w) of sliding windows; None computes the whole image at once.
        stride: step (h, w) between windows; required with ``window`` and at most as large.

    Raises:
        ValueError: if a length is not positive or window and stride do not fit together.
    """

    short_side: int | None = None
    max_long_side: int | None = None
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse rules that cannot be followed."""
        lengths = [self.short_side, self.max_long_side, *(self.window or ()), *(self.stride or ())]
        if any(length is not None and length < 1 for length in lengths):
            raise ValueError(f"Lengths of a size rule must be at least one pixel, got {self}.")
        if self.max_long_side is not None and self.short_side is None:
            raise ValueError("max_long_side bounds a resize and has no effect without short_side.")
        if (self.window is None) != (self.stride is None):
            raise ValueError(f"window and stride go together, got window {self.window} and stride {self.stride}.")
        if self.window and self.stride and any(s > w for s, w in zip(self.stride, self.window, strict=True)):
            raise ValueError(f"stride {self.stride} larger than window {self.window} would leave gaps.")

    @classmethod
    def from_dict(cls, content: Any) -> "SizeRule":
        """Build a rule from plain data, as checkpoints hold it.

        Raises:
            ValueError: if it is no mapping of the attributes, or one of them is of another kind.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(content, Mapping) or not set(content) <= set(names):
            raise ValueError(f"A size rule is a mapping with the keys {', '.join(names)}, got {content!r}.")
        for name, value in content.items():
            is_pair = name in ("window", "stride")
            lengths = value if is_pair and isinstance(value, list | tuple) and len(value) == 2 else [value]
            if value is not None and (is_pair != (len(lengths) == 2) or any(type(side) is not int for side in lengths)):
                kind = "a pair of integers (height, width)" if is_pair else "an integer"
                raise ValueError(f"{name} of a size rule is {kind} or null, got {value!r}.")
        rule: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        return cls(**rule)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The size (height, width) to which an image of the given size is resized before the model."""
        if self.short_side is None:
            return height, width
        scale = self.short_side / min(height, width)
        if self.max_long_side is not None:
            scale = min(scale, self.max_long_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))
