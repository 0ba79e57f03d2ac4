"""The training and validation images in a folder of unknown layout."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segattn.data.errors import DataNotFoundError
from segattn.data.folder_dataset import pair_folders
from segattn.data.label_files import Pair

NAMES = {"train": ("train", "training"), "val": ("val", "validation", "valid")}
"""Names of the subfolders of each split."""


@dataclass(frozen=True)
class Split:
    """The images of a split.

    Attributes:
        images: folder of the images.
        masks: folder of the masks.
        pairs: the images that have a mask.
        is_listed: whether the split is only a part of the folder, so that a list of its images is needed.
        without_mask: the other images of the folder; those of all listed splits are in the first.
    """

    images: Path
    masks: Path
    pairs: Sequence[Pair]
    is_listed: bool
    without_mask: Sequence[Pair] = ()


def find_splits(images: Path, masks: Path) -> Mapping[str, Split]:
    """Find training and validation images.

    They are in subfolders of both folders, named as in :data:`NAMES`. Otherwise the last fifth of the images of every
    folder is for validation, so that neighboring frames of a video stay together.

    Raises:
        DataNotFoundError: if a folder does not exist, or there are not at least two images with a mask.
    """
    found: dict[str, Split] = {}
    for split, names in NAMES.items():
        for name in names:
            if (images / name).is_dir() and (masks / name).is_dir():
                pairs, others = _with_mask(images / name, masks / name)
                found[split] = Split(images / name, masks / name, pairs, False, others)
    if len(found) == len(NAMES):
        return found
    pairs, others = _with_mask(images, masks)
    folders: dict[Path, list[Pair]] = defaultdict(list)
    for pair in pairs:
        folders[pair.image.parent].append(pair)
    val = [pair for members in folders.values() for pair in members[len(members) - len(members) // 5 :]] or pairs[-1:]
    chosen = {pair.name for pair in val}
    train = [pair for pair in pairs if pair.name not in chosen]
    return {"train": Split(images, masks, train, True, others), "val": Split(images, masks, val, True)}


def _with_mask(images: Path, masks: Path) -> tuple[list[Pair], list[Pair]]:
    """The images with a mask, and the others."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataNotFoundError(f"There is no folder {folder.absolute()}.")
    pairs = pair_folders(images, masks)
    found = [pair for pair in pairs if pair.mask.is_file()]
    if len(found) < 2:
        example = f", for example {pairs[0].mask} is missing" if len(found) < len(pairs) else ""
        raise DataNotFoundError(
            f"{len(found)} of the {len(pairs)} images in {images} have a mask in {masks}{example}. At least two are "
            "needed, and a mask must have the relative path of its image, apart from the extension."
        )
    return found, [pair for pair in pairs if not pair.mask.is_file()]
