"""Class files: YAML files with the classes of a data set, and the meaning of the values in its masks.

A class file lists the classes in the order of their indices, each with its value in gray or palette masks::

    ignore: [0, 255]                  # values that neither train nor count
    remap: [{from: 9, to: 1}]         # values that are read as another value
    classes:
      - {name: road, label: 1}
      - {name: car, label: 2, thing: true, color: [0, 0, 142]}   # the color is for overlays

or each with its RGB color in color masks (or palette masks, read through their palette)::

    ignore: [[0, 0, 0]]
    classes:
      - {name: road, color: [128, 64, 128]}
      - {name: car, color: [0, 0, 142], thing: true}

With color masks, the label id of a class, which predictions are written in, is its index.
"""

import colorsys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.label_map import LabelMap, color_values
from segattn.io.error_text import one_line
from segattn.io.yaml_files import read_yaml
from segattn.sample import ClassInfo, ClassTable


@dataclass(frozen=True)
class LabelScheme:
    """The content of a class file."""

    classes: ClassTable
    label_map: LabelMap

    @classmethod
    def read(cls, path: Path) -> "LabelScheme":
        """Read a class file.

        Raises:
            DataNotFoundError: if there is no such file.
            DataError: if it does not have the form described above.
        """
        if not path.is_file():
            raise DataNotFoundError(
                f"There is no class file {path.absolute()}; it must list a name and a label (or color) for each class."
            )
        try:
            return cls._parse(read_yaml(path))
        except ValueError as error:
            raise DataError(f"The class file {path} cannot be used: {one_line(error)}.") from error

    @classmethod
    def _parse(cls, content: Any) -> "LabelScheme":
        _require_keys(content, {"classes"}, {"ignore", "remap"}, "the file")
        for key in content:
            if not isinstance(content[key], list):
                raise ValueError(f"{key} must be a list, got {content[key]!r}.")
        entries, ignore, remap = content["classes"], content.get("ignore", []), content.get("remap", [])
        for entry in entries:
            _require_keys(entry, {"name"}, {"label", "color", "thing"}, f"the class {entry}")
            if type(entry["name"]) not in (str, int):
                raise ValueError(f"a name must be text, got {entry['name']!r}; write it in quotes.")
            if not isinstance(entry.get("thing", False), bool):
                raise ValueError(f"thing must be true or false, got {entry['thing']!r}.")
        by_color = all("label" not in entry for entry in entries)
        key, value_of = ("color", _color_value) if by_color else ("label", _label)
        for entry in entries:
            if key not in entry:
                raise ValueError(f"either all classes must have a label or all must have only a color; see {entry}.")
        for rule in remap:
            _require_keys(rule, {"from", "to"}, set(), f"the rule {rule}")
        classes = ClassTable(
            tuple(
                ClassInfo(
                    name=str(entry["name"]),
                    color=_color(entry["color"]) if "color" in entry else _distinct_color(index),
                    label_id=index if by_color else _label(entry["label"]),
                    thing=entry.get("thing", False),
                )
                for index, entry in enumerate(entries)
            )
        )
        label_map = LabelMap(
            [value_of(entry[key]) for entry in entries],
            ignore=[value_of(ignored) for ignored in ignore],
            remap={value_of(rule["from"]): value_of(rule["to"]) for rule in remap},
            num_values=1 << (24 if by_color else 16),
        )
        return cls(classes, label_map)


def _require_keys(entry: Any, required: set[str], optional: set[str], what: str) -> None:
    if not isinstance(entry, dict) or not required <= entry.keys() <= required | optional:
        raise ValueError(
            f"{what} needs the keys {', '.join(sorted(required))} and may have "
            f"{', '.join(sorted(optional)) or 'no others'}."
        )


def _label(value: Any) -> int:
    if type(value) is not int:  # True is an instance of int
        raise ValueError(f"a label value must be an integer, got {value!r}.")
    return value


def _color(value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3 or any(not 0 <= _label(channel) <= 255 for channel in value):
        raise ValueError(f"a color must be a list of three integers in 0..255, got {value!r}.")
    return value[0], value[1], value[2]


def _color_value(value: Any) -> int:
    return int(color_values(np.array([_color(value)], dtype=np.uint8))[0])


def _distinct_color(index: int) -> tuple[int, int, int]:
    """A color for a class without one: hues a golden section apart, alternating in brightness."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.75, (0.95, 0.7)[index % 2])
    return round(255 * red), round(255 * green), round(255 * blue)
