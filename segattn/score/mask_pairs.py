"""Pairing the label files of a ground truth with the masks of a tool, and with instance maps and images."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segattn.data.errors import DataError, DataNotFoundError
from segattn.io.image_listing import list_images

ENDINGS = (
    *("_gtFine", "_gtCoarse", "_leftImg8bit", "_labelIds", "_labelTrainIds", "_instanceIds"),  # Cityscapes
    *("_gt", "_L", "_label", "_mask", "_pred", "_prediction"),
)
"""Ends of file names that do not matter for pairing."""

OTHER_FILES = ("_instanceIds", "_instanceTrainIds", "_color")
"""Ends of the names of files that Cityscapes stores beside its label files."""


@dataclass(frozen=True)
class MaskPair:
    """The files of one image.

    Attributes:
        name: path of the label file relative to the ground truth or, if images are given, of the image.
        truth: the label file.
        mask: the mask to score.
        instances: the instance map, if there are instance maps.
    """

    name: str
    truth: Path
    mask: Path
    instances: Path | None = None


@dataclass(frozen=True)
class Pairing:
    """The pairs, the label files without a mask, and the masks without a label file."""

    pairs: Sequence[MaskPair]
    missing: Sequence[Path]
    extra: Sequence[Path]


def pair_masks(truth: Path, masks: Path, *, instances: Path | None = None, images: Path | None = None) -> Pairing:
    """Pair the files of two to four folders.

    Files belong together if their relative paths are equal without extension and :data:`ENDINGS`. If no file has such
    a partner, the folders are ignored and names alone are compared.

    Args:
        truth: folder of label files.
        masks: folder of masks to score.
        instances: folder of instance maps.
        images: folder of images that the pairs are named after.

    Raises:
        DataNotFoundError: if a folder is missing or contains no image file, or nothing can be paired.
        DataError: if two files of one folder belong to the same image, or an instance map or image is missing.
    """
    labels = _files_by_key(truth)
    found = _partners(labels, masks, "mask")
    missing = [path for key, path in labels.items() if key not in found]
    used = set(found.values())
    extra = [path for path in _files_by_key(masks).values() if path not in used]
    maps = {} if instances is None else _required(labels, found, instances, "instance map")
    named = {} if images is None else _required(labels, found, images, "image")
    pairs = [
        MaskPair(
            named[key].relative_to(images).as_posix() if images else path.relative_to(truth).as_posix(),
            path,
            found[key],
            maps.get(key),
        )
        for key, path in labels.items()
        if key in found
    ]
    return Pairing(pairs, missing, extra)


def _required(labels: Mapping[str, Path], scored: Collection[str], folder: Path, kind: str) -> dict[str, Path]:
    """The file of each label file that has a mask."""
    found = _partners(labels, folder, kind)
    if lacking := [labels[key] for key in scored if key not in found]:
        raise DataError(f"{len(lacking)} label files have no {kind} in {folder}, for example {lacking[0]}.")
    return found


def _partners(labels: Mapping[str, Path], folder: Path, kind: str) -> dict[str, Path]:
    """The files in a folder that belong to label files, by the key of the label file."""
    files = _files_by_key(folder, instances=kind == "instance map")
    keys = {key: key for key in labels}
    if not keys.keys() & files.keys():
        _by_name(labels)  # names must be unique
        keys, files = {key: PurePosixPath(key).name for key in labels}, _by_name(files)
    found = {key: files[other] for key, other in keys.items() if other in files}
    if not found:
        raise DataNotFoundError(
            f"No {kind} in {folder} has the name of a label file; for example, there is no {kind} for "
            f"{min(labels.values())}. Extensions and these endings of names do not matter: {', '.join(ENDINGS)}."
        )
    return found


def _files_by_key(folder: Path, *, instances: bool = False) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataNotFoundError(f"There is no folder {folder.absolute()}.")
    paths = list(map(Path, list_images(folder)))
    named = [path for path in paths if path.stem.endswith("_instanceIds")] if instances else []
    paths = named or [path for path in paths if not path.stem.endswith(OTHER_FILES)]
    if any(path.stem.endswith("_labelIds") for path in paths):
        paths = [path for path in paths if not path.stem.endswith("_labelTrainIds")]
    if not paths:
        raise DataNotFoundError(f"There are no image files in {folder.absolute()}.")
    return _unique([(_key(path.relative_to(folder)), path) for path in paths])


def _key(path: Path) -> str:
    """The relative path without extension and endings."""
    key = os.path.splitext(path.as_posix())[0]  # noqa: PTH122  # as text, because there may be many files
    while ending := next((each for each in ENDINGS if key.endswith(each)), ""):
        key = key.removesuffix(ending)
    return key


def _by_name(files: Mapping[str, Path]) -> dict[str, Path]:
    return _unique(
        [(PurePosixPath(key).name, path) for key, path in files.items()],
        "The files {0} and {1} have the same name, and no relative path occurs in both folders; files of one image "
        "need the same relative path.",
    )


def _unique(
    files: Sequence[tuple[str, Path]], message: str = "The files {0} and {1} belong to the same image; keep one."
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for key, path in files:
        if key in found:
            raise DataError(message.format(found[key], path))
        found[key] = path
    return found
