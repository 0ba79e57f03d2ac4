"""Groups of images that resemble each other, such as the frames of one drive, for the bootstrap."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from segattn.objects.record_files import read_record
from segattn.report.runs import Study

PREFIX = r"([^/_]+)_[^/]*$"
"""The first part of a file name: the city in Cityscapes, the drive in CamVid."""

FRAMES = 10
"""Consecutive frames of a block where CamVid has only one drive."""


@dataclass(frozen=True, eq=False)
class ImageGroups:
    """A partition of the images of a study.

    Attributes:
        numbers: the group of each image, in the order of ``Study.images``.
        count: number of groups.
        what: what a group is, in the plural, such as ``cities``.
    """

    numbers: npt.NDArray[np.int64]
    count: int
    what: str

    @property
    def are_images(self) -> bool:
        """Whether every image is its own group."""
        return self.count == len(self.numbers)


def group_images(study: Study, group_by: str | None = None) -> ImageGroups:
    """Divide the images of a study into groups.

    Args:
        study: the runs.
        group_by: ``image`` (every image is a group); ``blocks:N`` (N consecutive images of a folder, in the natural
            order of their names; the last block of a folder may be smaller); ``column:NAME`` (a column of the first
            record with one value per image); or a regular expression that is searched in the names, whose first
            group, or else the complete match, is the group. None chooses by data set: the cities of Cityscapes, the
            drives of CamVid (blocks of 10 frames if there is only one drive), otherwise images.

    Raises:
        ValueError: if an image has no group, or all images have the same.
    """
    names = study.images
    if group_by is None:
        return _default(study)
    kind, _, rest = group_by.partition(":")
    if group_by == "image":
        return ImageGroups(np.arange(len(names)), len(names), "images")
    if kind == "blocks":
        return _blocks(names, rest)
    if kind == "column":
        return _numbered(_column(study, rest), f"values of {rest}", group_by)
    return _numbered(_matches(names, group_by), f"groups by {group_by!r}", group_by)


def _default(study: Study) -> ImageGroups:
    data, names = study.info.extra.get("data", "").lower(), study.images
    try:
        if data == "cityscapes":
            return _numbered(_matches(names, PREFIX), "cities", PREFIX)
        if data == "camvid":
            drives = _matches(names, PREFIX)
            return _numbered(drives, "drives", PREFIX) if len(set(drives)) > 1 else _blocks(names, str(FRAMES))
    except ValueError:  # other names than in the published data set, or too few images
        pass
    return group_images(study, "image")


def _matches(names: list[str], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--group-by {pattern} is not a regular expression: {error}.") from error
    found = [compiled.search(name) for name in names]
    values = [match and match[1 if compiled.groups else 0] for match in found]
    without = [name for name, value in zip(names, values, strict=True) if value is None]
    if without:
        matching = len(names) - len(without)
        raise ValueError(f"--group-by {pattern} matches {matching} of {len(names)} image names, but not {without[0]}.")
    return [str(value) for value in values]


def _column(study: Study, name: str) -> list[str]:
    path = study.runs[0].path
    rows = read_record(path, columns=["image", name]).rows
    if name not in rows.columns:
        raise ValueError(f"--group-by column:{name} cannot be used: {path} has no such column.")
    values = pd.DataFrame({"image": rows["image"], "group": rows[name].astype(str)}).drop_duplicates()
    repeated = values["image"][values["image"].duplicated()]
    if len(repeated):
        raise ValueError(
            f"--group-by column:{name} needs one value per image, but {repeated.iloc[0]} has several in {path}."
        )
    by_image = dict(zip(values["image"], values["group"], strict=True))
    return [by_image[image] for image in study.images]


def _blocks(names: list[str], size: str) -> ImageGroups:
    if not re.fullmatch(r"[1-9]\d*", size):
        raise ValueError(f"--group-by blocks:{size} must have a positive number of images, such as blocks:{FRAMES}.")
    folders: dict[str, list[str]] = {}
    for name in sorted(names, key=_natural):
        folders.setdefault(str(PurePosixPath(name).parent), []).append(name)
    block = {name: f"{folder}/{n // int(size)}" for folder, inside in folders.items() for n, name in enumerate(inside)}
    return _numbered([block[name] for name in names], f"blocks of {size} consecutive images", f"blocks:{size}")


def _natural(name: str) -> list[str | int]:
    """Key that sorts numbers by value: frame 9 comes before frame 10."""
    return [int(part) if position % 2 else part for position, part in enumerate(re.split(r"(\d+)", name))]


def _numbered(values: list[str], what: str, group_by: str) -> ImageGroups:
    groups, numbers = np.unique(values, return_inverse=True)
    if len(groups) == 1 < len(values):
        raise ValueError(
            f"--group-by {group_by} puts all {len(values)} images into one group; at least two are needed."
        )
    return ImageGroups(numbers, len(groups), what)
