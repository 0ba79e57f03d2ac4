"""Mapping the values of a label file to class indices."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Integer, UInt8

from segattn.data.errors import DataError
from segattn.sample import IGNORE_INDEX


class LabelMap:
    """Maps label values to class indices and refuses unknown values.

    :meth:`segattn.sample.ClassTable.to_label_ids` is the inverse.

    Args:
        values: the values of the classes, by index.
        ignore: values that become ``IGNORE_INDEX``.
        remap: further values, each with the value (of a class or ignored) that it is read as.
        num_values: upper bound of all values: 2**16 for labels, 2**24 for colors (see :func:`color_values`).

    Attributes:
        of_colors: whether the values are colors.

    Raises:
        ValueError: if a value is out of range or has two meanings.
    """

    def __init__(
        self,
        values: Iterable[int],
        *,
        ignore: Iterable[int] = (),
        remap: Mapping[int, int] | None = None,
        num_values: int = 1 << 16,
    ) -> None:
        values = list(values)
        indices = {value: index for index, value in enumerate(values)}
        ignored, remap = set(ignore), remap or {}
        if outside := sorted(value for value in {*indices, *ignored, *remap} if not 0 <= value < num_values):
            raise ValueError(f"Label values must be in 0..{num_values - 1}, got {outside}.")
        if twice := sorted((indices.keys() & ignored) | (remap.keys() & (indices.keys() | ignored))):
            raise ValueError(
                f"The label values {twice} have two meanings; a value is either a class, ignored or remapped."
            )
        indices |= dict.fromkeys(ignored, IGNORE_INDEX)
        if unknown := sorted(set(remap.values()) - indices.keys()):
            raise ValueError(f"remap maps to the values {unknown}, which are neither a class nor ignored.")
        indices |= {value: indices[read_as] for value, read_as in remap.items()}
        self.of_colors = num_values > 1 << 16
        if shared := [value for value, index in indices.items() if values.count(value) > 1]:
            what = "color" if self.of_colors else "label value"
            raise ValueError(f"Two classes share the {what} {self.listed(np.array(shared))}; each must be unique.")
        self._index_plus_one = np.zeros(num_values, dtype=np.int16)  # 0: unknown
        for value, index in indices.items():
            self._index_plus_one[value] = index + 1

    def __call__(self, labels: Integer[np.ndarray, "h w"], path: Path) -> UInt8[np.ndarray, "h w"]:
        """Map label values to class indices; a DataError names unknown values and their file."""
        if labels.dtype == np.uint8 and labels.size:
            found = cv2.LUT(labels, self._index_plus_one[:256])  # ten times as fast as indexing
        elif labels.size and (labels.min() < 0 or labels.max() >= len(self._index_plus_one)):
            raise self._unknown_values(labels, path)
        else:
            found = self._index_plus_one[labels]
        if not found.all():
            raise self._unknown_values(labels[found == 0], path)
        indices: UInt8[np.ndarray, "h w"] = (found - 1).astype(np.uint8)
        return indices

    @property
    def digest(self) -> str:
        """A digest of the meaning of all values."""
        return sha256(self._index_plus_one.data).hexdigest()

    def knows(self, values: Integer[np.ndarray, " values"]) -> Bool[np.ndarray, " values"]:
        """Whether each value is a class, ignored or remapped."""
        possible = (values >= 0) & (values < len(self._index_plus_one))
        return possible & (self._index_plus_one[np.where(possible, values, 0)] > 0)

    def listed(self, values: Integer[np.ndarray, " values"]) -> str:
        """The first ten values as text, colors as (red, green, blue)."""
        shown = [f"({v >> 16}, {v >> 8 & 255}, {v & 255})" if self.of_colors else str(v) for v in values[:10].tolist()]
        return ", ".join(shown) + (", ..." if len(values) > 10 else "")

    def _unknown_values(self, labels: npt.NDArray[np.integer], path: Path) -> DataError:
        listed = self.listed(np.unique(labels))
        return DataError(f"The label file {path} contains values that are neither a class nor ignored: {listed}.")


def color_values(colors: UInt8[np.ndarray, "*shape 3"]) -> Integer[np.ndarray, "*shape"]:
    """Encode each RGB color as red * 2**16 + green * 2**8 + blue."""
    red, green, blue = (colors[..., channel].astype(np.int32) for channel in range(3))
    values: Integer[np.ndarray, "*shape"] = (red << 16) | (green << 8) | blue
    return values
