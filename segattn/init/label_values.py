"""The classes of unknown masks: the values, or the colors, that occur in them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segattn.data.errors import ColorMaskError, DataError
from segattn.data.label_files import read_colors, read_labels
from segattn.data.label_map import color_values

MAX_CLASSES = 255
"""Largest number of classes of a data set."""

MAX_LABEL = 65535
"""Largest label of a class file."""


@dataclass
class LabelValues:
    """Pixels of each value in masks.

    Attributes:
        of_colors: whether the values are colors, ``65536 * red + 256 * green + blue``.
        pixels: number of pixels by value.
        shown: the color in which viewers show a value of a gray or palette mask.
    """

    of_colors: bool
    pixels: Counter[int] = field(default_factory=Counter)
    shown: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def add(self, mask: Path) -> None:
        """Count the values of a mask."""
        colors = read_colors(mask)
        values = color_values(colors) if self.of_colors else read_labels(mask)
        found, first, counts = np.unique(values, return_index=True, return_counts=True)
        if found[0] < 0 or (not self.of_colors and found[-1] > MAX_LABEL):
            value = found[0] if found[0] < 0 else found[-1]
            raise DataError(f"The mask {mask} contains {value}; labels must be 0 to {MAX_LABEL}.")
        for value, position, count in zip(found.tolist(), first, counts.tolist(), strict=True):
            self.pixels[value] += count
            red, green, blue = colors.reshape(-1, 3)[position].tolist()
            self.shown[value] = red, green, blue
        if len(self.pixels) > MAX_CLASSES + 1:
            what = "colors" if self.of_colors else "values"
            raise DataError(
                f"The masks have more than {MAX_CLASSES + 1} {what} ({mask} was the last one read), so they are not "
                "labels of classes: they may be instance ids, or have been saved as JPEG."
            )


def label_values(masks: Sequence[Path]) -> LabelValues:
    """Read masks and count their values.

    Raises:
        DataError: if a mask cannot be read, or there are more than 256 values.
    """
    try:
        values = LabelValues(of_colors=False)
        for mask in masks:
            values.add(mask)
    except ColorMaskError:
        values = LabelValues(of_colors=True)
        for mask in masks:
            values.add(mask)
    return values


def class_file(values: LabelValues, *, masks: int) -> str:
    """The text of a class file with a class for every value.

    255 is ignored, except in masks of 0 and 255 alone, where it is the foreground. The names contain the value, so that
    equal names mean the same in the class files of two data sets.
    """
    found = sorted(values.pixels)
    total = values.pixels.total()
    binary = not values.of_colors and len(found) == 2 and found[0] == 0 and found[1] in (1, 255)
    ignored = [] if binary or values.of_colors or 255 not in found else [255]
    what = "color" if values.of_colors else "label"
    lines = [
        f"# The values in {masks} masks. Give the classes their names. `thing: true` marks countable objects.",
        f"ignore: {ignored}  # move the {what} of a class here if its pixels shall neither train nor count",
        "classes:",
    ]
    for index, value in enumerate(each for each in found if each not in ignored):
        name = (
            ("background", "foreground")[index]
            if binary
            else f"color {value:06x}"
            if values.of_colors
            else f"class {value}"
        )
        color = ", ".join(map(str, values.shown[value]))
        entry = f"name: {name}" if values.of_colors else f"name: {name}, label: {value}"
        if values.of_colors or len(set(values.shown[value])) > 1:
            entry += f", color: [{color}]"
        lines.append(f"  - {{{entry}}}  # {values.pixels[value] / total:.2%} of the pixels")
    return "\n".join(lines) + "\n"
