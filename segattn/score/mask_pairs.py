"""Pairing the label files of a ground truth with the masks of a tool."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segattn.data.errors import DataError, DataNotFoundError
from segattn.io.image_listing import list_images

ENDINGS = ("_gtFine", "_gtCoarse", "_leftImg8bit", "_labelIds", "_labelTrainIds")
"""Ends of file names that do not matter for pairing."""

OTHER_FILES = ("_instanceIds", "_instanceTrainIds", "_color")
"""Ends of the names of files that Cityscapes stores beside its label files."""


@dataclass(frozen=True)
class MaskPair:
    """A label file and the mask to score; the name is the path of the label file relative to the ground truth."""

    name: str
    truth: Path
    mask: Path


@dataclass(frozen=True)
class Pairing:
    """The pairs, the label files without a mask, and the masks without a label file."""

    pairs: Sequence[MaskPair]
    missing: Sequence[Path]
    extra: Sequence[Path]


def pair_masks(truth: Path, masks: Path) -> Pairing:
    """Pair the files of two folders.

    Files belong together if their relative paths are equal without extension and :data:`ENDINGS`. If no file has such
    a partner, the folders are ignored and names alone are compared.

    Raises:
        DataNotFoundError: if a folder is missing or contains no mask, or nothing can be paired.
        DataError: if two files of one folder belong to the same image.
    """
    left, right = _files_by_key(truth), _files_by_key(masks)
    if not left.keys() & right.keys():
        left, right = _by_name(left), _by_name(right)
    if not left.keys() & right.keys():
        raise DataNotFoundError(
            f"No mask in {masks} has the name of a label file in {truth}; for example, there is no mask for "
            f"{min(left.values())}."
        )
    pairs = [
        MaskPair(path.relative_to(truth).as_posix(), path, right[key]) for key, path in left.items() if key in right
    ]
    missing = [path for key, path in left.items() if key not in right]
    return Pairing(pairs, missing, [path for key, path in right.items() if key not in left])


def _files_by_key(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataNotFoundError(f"There is no folder {folder.absolute()}.")
    paths = [Path(path) for path in list_images(folder) if not Path(path).stem.endswith(OTHER_FILES)]
    if any(path.stem.endswith("_labelIds") for path in paths):
        paths = [path for path in paths if not path.stem.endswith("_labelTrainIds")]
    if not paths:
        raise DataNotFoundError(f"There are no masks in {folder.absolute()}.")
    return _unique([(_key(path.relative_to(folder)), path) for path in paths])


def _key(path: Path) -> str:
    """The relative path without extension and endings."""
    key = os.path.splitext(path.as_posix())[0]  # noqa: PTH122  # as text, because there may be many files
    while ending := next((each for each in ENDINGS if key.endswith(each)), ""):
        key = key.removesuffix(ending)
    return key


def _by_name(files: Mapping[str, Path]) -> dict[str, Path]:
    return _unique([(PurePosixPath(key).name, path) for key, path in files.items()])


def _unique(files: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for key, path in files:
        if key in found:
            raise DataError(f"The files {found[key]} and {path} belong to the same image; keep one.")
        found[key] = path
    return found
