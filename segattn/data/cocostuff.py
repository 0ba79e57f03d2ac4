"""COCO-Stuff 164k (Caesar et al., CVPR 2018, arXiv 1612.03716).

118,287 training and 5,000 validation images of COCO 2017 with 80 thing and 91 stuff classes:
https://github.com/nightrome/cocostuff
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_map import LabelMap
from segattn.sample import IGNORE_INDEX

SCHEME = LabelScheme.read(Path(__file__).with_name("cocostuff_classes.yaml"))
CLASSES = SCHEME.classes


class COCOStuff(SegmentationDataset):
    """The stuffthingmaps with their original values or, where only those exist, OpenMMLab's files of class indices.

    Value 0 is a person, not "unlabeled" as in the list ``labels.txt`` of the authors, which counts from 1.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        split: ``train`` or ``val``. The test labels are not public.
    """

    layout: ClassVar[str] = (
        "images/{train2017,val2017}/*.jpg and annotations/{train2017,val2017}/*.png (or *_labelTrainIds.png)"
    )
    label_files: ClassVar[str] = "*[0-9].png"  # the files of class indices may lie beside them
    remedy: ClassVar[str] = (
        "get the images of 2017 from https://cocodataset.org and stuffthingmaps_trainval2017.zip from "
        "https://github.com/nightrome/cocostuff"
    )
    parts: ClassVar[dict[str, str]] = {"train": "train2017", "val": "val2017"}

    def __init__(self, root: Path | str, split: str = "train") -> None:
        pairs, label_map = self.find_pairs(root, split), SCHEME.label_map
        converted = [pair.mask.with_name(f"{pair.mask.stem}_labelTrainIds.png") for pair in pairs]
        if pairs and not pairs[0].mask.is_file() and converted[0].is_file():
            pairs = [replace(pair, mask=mask) for pair, mask in zip(pairs, converted, strict=True)]
            label_map = LabelMap(range(len(CLASSES)), ignore=[IGNORE_INDEX])
        super().__init__(root, CLASSES, pairs, label_map)
