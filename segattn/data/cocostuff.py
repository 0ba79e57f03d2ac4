"""COCO-Stuff (Caesar et al., CVPR 2018, arXiv 1612.03716).

80 thing and 91 stuff classes. Release 164k: 118,287 training and 5,000 validation images of COCO 2017; release 10k:
9,000 training and 1,000 test images, https://github.com/nightrome/cocostuff and https://github.com/nightrome/cocostuff10k
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Integer

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import Pair, pair_files, read_mat
from segattn.data.label_map import LabelMap
from segattn.sample import IGNORE_INDEX

SCHEME = LabelScheme.read(Path(__file__).with_name("cocostuff_classes.yaml"))
CLASSES = SCHEME.classes
RELEASES = ("164k", "10k")


class COCOStuff(SegmentationDataset):
    """The label files with their original values or, where only those exist, OpenMMLab's files of class indices.

    In the label files of release 164k, value 0 is a person, not "unlabeled" as in the list ``labels.txt`` of the
    authors, which counts from 1. The label files of release 10k count from 1; 0 is ignored.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        split: ``train`` or ``val``. For release 10k, ``val`` are the test images, whose labels are public.
        release: ``164k`` or ``10k``.

    Examples:
        >>> from segattn.data import COCOStuff
        >>> dataset = COCOStuff("data/coco_stuff164k", "val")
        >>> len(dataset.classes), sorted(dataset[0])
        (171, ['image', 'mask', 'name'])
    """

    layout: ClassVar[str] = (
        "images/{train2017,val2017}/*.jpg and annotations/{train2017,val2017}/*.png (or *_labelTrainIds.png); for "
        "release 10k images/*.jpg, annotations/*.mat and imageLists/{train,test}.txt, or "
        "{images,annotations}/{train2014,test2014} with *_labelTrainIds.png"
    )
    label_files: ClassVar[str] = "*[0-9].png"  # the files of class indices may lie beside them
    remedy: ClassVar[str] = (
        "get the images of 2017 from https://cocodataset.org and stuffthingmaps_trainval2017.zip (or release 10k) "
        "from https://github.com/nightrome/cocostuff"
    )
    parts: ClassVar[dict[str, str]] = {"train": "train2017", "val": "val2017"}

    def __init__(self, root: Path | str, split: str = "train", *, release: str = "164k") -> None:
        if release not in RELEASES:
            raise ValueError(f"release must be one of {', '.join(RELEASES)}, got {release!r}.")
        pairs = self.find_pairs(root, split) if release == "164k" else self._pairs_of_10k(Path(root), split)
        converted = [pair.mask.with_name(f"{pair.mask.stem}_labelTrainIds.png") for pair in pairs]
        label_map = SCHEME.label_map
        if pairs and not pairs[0].mask.is_file() and converted[0].is_file():
            pairs = [replace(pair, mask=mask) for pair, mask in zip(pairs, converted, strict=True)]
            first, ignored = (0, IGNORE_INDEX) if release == "164k" else (1, 0)
            label_map = LabelMap(range(first, first + len(CLASSES)), ignore=[ignored])
        super().__init__(root, CLASSES, pairs, label_map)

    @classmethod
    def _pairs_of_10k(cls, root: Path, split: str) -> list[Pair]:
        part = "train" if cls.part(split) == "train2017" else "test"
        if (root / "images" / f"{part}2014").is_dir():
            return pair_files(root / "images" / f"{part}2014", root / "annotations" / f"{part}2014")
        pairs = cls.listed_pairs(root / "imageLists" / f"{part}.txt", root / "images", root / "annotations")
        return [replace(pair, mask=pair.mask.with_suffix(".mat")) for pair in pairs]

    def read_values(self, path: Path) -> Integer[np.ndarray, "h w"]:
        """Read the stored values of a label file; those of a MATLAB file minus 1, so that 0 becomes 255."""
        if path.suffix == ".mat":
            return read_mat(path, lambda variables: variables["S"]) - np.uint8(1)
        return super().read_values(path)
