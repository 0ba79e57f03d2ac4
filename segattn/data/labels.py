"""From the values in a label file to class indices."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from segattn.data.errors import DataError
from segattn.sample import IGNORE_INDEX, ClassTable

_NUM_VALUES = 1 << 16


class LabelMap:
    """Turns label values into class indices, and refuses values that stand for nothing.

    The way back is :meth:`segattn.sample.ClassTable.to_label_ids`.

    Args:
        classes: its ``label_ids`` are the values of the classes.
        ignore: values that become ``IGNORE_INDEX``.
        remap: further values and the value (of a class or ignored) that each one is read as.

    Raises:
        ValueError: if a value is outside 0..65535, or a class's value is also ignored or remapped.
    """

    def __init__(self, classes: ClassTable, *, ignore: Iterable[int] = (), remap: Mapping[int, int] | None = None):
        ignore, remap = set(ignore), remap or {}
        targets = {label_id: index for index, label_id in enumerate(classes.label_ids)}
        for value in sorted({*ignore, *remap, *targets}):
            if not 0 <= value < _NUM_VALUES:
                raise ValueError(f"Label values lie in 0..{_NUM_VALUES - 1}, got {value}.")
        if both := sorted(targets.keys() & (ignore | remap.keys())):
            raise ValueError(f"The label values {both} belong to classes and cannot be ignored or remapped as well.")
        targets |= dict.fromkeys(ignore, IGNORE_INDEX)
        if unknown := sorted(set(remap.values()) - targets.keys()):
            raise ValueError(f"Values can be remapped to a class's value or an ignored one only, got {unknown}.")
        targets |= {value: targets[read_as] for value, read_as in remap.items()}
        self._indices = np.zeros(_NUM_VALUES, dtype=np.uint8)
        self._known = np.zeros(_NUM_VALUES, dtype=np.bool_)
        self._indices[list(targets)] = list(targets.values())
        self._known[list(targets)] = True

    def __call__(self, labels: npt.NDArray[np.integer], path: Path) -> UInt8[np.ndarray, "h w"]:
        """Class indices of a label image.

        Args:
            labels: values as stored, (h, w).
            path: the file they came from, for the message.

        Raises:
            DataError: if a value is neither a class's nor ignored nor remapped, or there are several channels.
        """
        if labels.ndim != 2:
            raise DataError(f"The label file {path} has {labels.shape[-1]} channels; one channel of values is needed.")
        values = np.clip(labels, 0, _NUM_VALUES - 1)
        if not (self._known[values] & (values == labels)).all():
            strange = [int(value) for value in np.unique(labels) if not self._knows(int(value))]
            listed = ", ".join(map(str, strange[:10])) + (", ..." if len(strange) > 10 else "")
            raise DataError(f"The label file {path} holds values that are neither a class nor ignored: {listed}.")
        indices: UInt8[np.ndarray, "h w"] = self._indices[values]
        return indices

    def _knows(self, value: int) -> bool:
        return 0 <= value < _NUM_VALUES and bool(self._known[value])
