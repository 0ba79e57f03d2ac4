"""One's own data: a folder of images, a folder of masks, and a YAML file of classes.

The file lists the classes in the order of their indices, each by its value in grey or palette masks::

    ignore: [0, 255]                  # values that neither train nor count
    remap: [{from: 9, to: 1}]         # values that are read as another value
    classes:
      - {name: road, label: 1}
      - {name: car, label: 2, thing: true, color: [0, 0, 142]}   # the color is for overlays

or each by its RGB color in color masks (a palette is looked through)::

    ignore: [[0, 0, 0]]
    classes:
      - {name: road, color: [128, 64, 128]}
      - {name: car, color: [0, 0, 142], thing: true}

With color masks a class's index is also its label id, in which predictions are written.
"""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Integer

from segattn.data.dataset import SegmentationDataset
from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.label_files import Pair, read_colors, read_labels
from segattn.data.label_map import LabelMap, color_values
from segattn.data.source import SegmentationSource
from segattn.io.error_text import one_line
from segattn.io.image_listing import list_images
from segattn.io.yaml_files import read_yaml
from segattn.sample import ClassInfo, ClassTable


@dataclass(frozen=True)
class LabelScheme:
    """What the file of classes says.

    Attributes:
        classes: the classes.
        label_map: from values to indices.
    """

    classes: ClassTable
    label_map: LabelMap

    @classmethod
    def read(cls, path: Path) -> "LabelScheme":
        """Read a file of classes.

        Raises:
            DataNotFoundError: if there is no such file.
            DataError: if it is not as described above.
        """
        if not path.is_file():
            raise DataNotFoundError(
                f"There is no file of classes at {path.absolute()}: it lists a name and a label, or a color, for each."
            )
        try:
            return cls._parse(read_yaml(path))
        except ValueError as error:
            raise DataError(f"The file of classes {path} cannot be used: {one_line(error)}.") from error

    @classmethod
    def _parse(cls, content: Any) -> "LabelScheme":
        _require(content, {"classes"}, {"ignore", "remap"}, "the file")
        for key in ("classes", "ignore", "remap"):
            if not isinstance(content.get(key, []), list):
                raise ValueError(f"{key} must be a list, got {content[key]!r}.")
        entries = content["classes"]
        for entry in entries:
            _require(entry, {"name"}, {"label", "color", "thing"}, f"the class {entry}")
        by_color = all("label" not in entry for entry in entries)
        for entry in entries:
            if ("color" if by_color else "label") not in entry:
                raise ValueError(f"Either all classes have a label or all have a color only; see {entry}.")
        for rule in content.get("remap", []):
            _require(rule, {"from", "to"}, set(), f"the rule {rule}")
        classes = ClassTable(
            tuple(
                ClassInfo(
                    name=str(entry["name"]),
                    color=_color(entry["color"]) if "color" in entry else _distinct_color(index),
                    label_id=index if by_color else _label(entry["label"]),
                    thing=_flag(entry.get("thing", False)),
                )
                for index, entry in enumerate(entries)
            )
        )
        value = _color_value if by_color else _label
        label_map = LabelMap(
            [value(entry["color" if by_color else "label"]) for entry in entries],
            ignore=[value(ignored) for ignored in content.get("ignore", [])],
            remap={value(rule["from"]): value(rule["to"]) for rule in content.get("remap", [])},
            num_values=1 << (24 if by_color else 16),
        )
        return cls(classes, label_map)


class Folder(SegmentationDataset):
    """Pairs of files with the same relative path and stem below a folder of images and one of masks.

    Args:
        images: the folder of images, with any sub-folders.
        masks: the folder of masks.
        scheme: the content of the file of classes.
    """

    layout: ClassVar[str] = "a folder of images, a folder of masks with the same relative paths, and a file of classes"
    remedy: ClassVar[str] = "pass their paths, relative to the root or absolute"

    def __init__(self, images: Path | str, masks: Path | str, scheme: LabelScheme) -> None:
        images, masks = self.existing(Path(images)), self.existing(Path(masks))
        by_stem: dict[Path, Path] = {}
        for mask in map(Path, list_images(masks)):
            stem = mask.relative_to(masks).with_suffix("")
            if stem in by_stem:
                raise DataError(f"The label files {by_stem[stem]} and {mask} belong to the same image; keep one.")
            by_stem[stem] = mask
        names = [Path(path).relative_to(images) for path in list_images(images)]
        pairs = []
        for name in names:
            stem = name.with_suffix("")
            pairs.append(Pair(name.as_posix(), images / name, by_stem.get(stem, masks / name.with_suffix(".png"))))
        super().__init__(images, scheme.classes, pairs, scheme.label_map)

    def read_values(self, path: Path) -> Integer[np.ndarray, "h w"]:
        """Label values, or one number for each color."""
        return color_values(read_colors(path)) if self.label_map.of_colors else read_labels(path)


class FolderSource(SegmentationSource):
    """One's own images and masks in a config. Paths are relative to ``root`` or absolute.

    Args:
        root: the folder of the data set.
        classes: YAML file of the classes; ``segattn/data/folder_dataset.py`` describes it.
        train_images: folder of training images, with any sub-folders.
        train_masks: folder of their masks, with the same relative paths.
        val_images: folder of validation images.
        val_masks: folder of their masks.
        test_images: folder of test images; None tests on the validation images.
        test_masks: folder of their masks.
        crop_size: (height, width) of training crops.

    Raises:
        ValueError: if only one of ``test_images`` and ``test_masks`` is given.
    """

    def __init__(
        self,
        root: str,
        *,
        classes: str = "classes.yaml",
        train_images: str = "images/train",
        train_masks: str = "masks/train",
        val_images: str = "images/val",
        val_masks: str = "masks/val",
        test_images: str | None = None,
        test_masks: str | None = None,
        crop_size: tuple[int, int] = (512, 512),
        **kwargs: Any,
    ) -> None:
        if (test_images is None) != (test_masks is None):
            raise ValueError(f"test_images and test_masks go together, got {test_images} and {test_masks}.")
        self.scheme = LabelScheme.read(Path(root) / classes)
        super().__init__(root, self.scheme.classes, crop_size=crop_size, **kwargs)
        self.folders: Mapping[str, tuple[str, str]] = {
            "train": (train_images, train_masks),
            "val": (val_images, val_masks),
            "test": (test_images or val_images, test_masks or val_masks),
        }

    def dataset(self, split: str) -> Folder:
        """The images of one part."""
        images, masks = self.folders[split]
        return Folder(self.root / images, self.root / masks, self.scheme)


def _require(entry: Any, required: set[str], optional: set[str], what: str) -> None:
    if not isinstance(entry, dict) or not required <= entry.keys() <= required | optional:
        raise ValueError(
            f"{what} needs the keys {', '.join(sorted(required))} and may have "
            f"{', '.join(sorted(optional)) or 'no others'}."
        )


def _label(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"a label value is an integer, got {value!r}.")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"thing is true or false, got {value!r}.")
    return value


def _color(value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3 or any(not 0 <= _label(channel) <= 255 for channel in value):
        raise ValueError(f"a color is a list of three integers in 0..255, got {value!r}.")
    return value[0], value[1], value[2]


def _color_value(value: Any) -> int:
    return int(color_values(np.array([_color(value)], dtype=np.uint8))[0])


def _distinct_color(index: int) -> tuple[int, int, int]:
    """A color for a class that names none: hues a golden section apart, in alternating brightness."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.75, (0.95, 0.7)[index % 2])
    return round(255 * red), round(255 * green), round(255 * blue)
