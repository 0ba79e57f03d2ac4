"""Pascal VOC 2012 (Everingham et al., IJCV 2015), optionally with the labels of SBD (Hariharan et al., ICCV 2011).

1,464 training and 1,449 validation images with 21 classes; SBD adds 9,118 training images:
http://host.robots.ox.ac.uk/pascal/VOC/voc2012
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import Pair, read_labels
from segattn.sample import IGNORE_INDEX

SCHEME = LabelScheme.read(Path(__file__).with_name("voc_classes.yaml"))
CLASSES = SCHEME.classes


class VOC(SegmentationDataset):
    """Label 0 is the background, which is a class; 255 is ignored.

    Args:
        root: the folder ``VOC2012``, which holds ``JPEGImages``, ``SegmentationClass`` and ``ImageSets``.
        split: ``train`` or ``val``. The test labels are not public.
        sbd: train on the images of ``trainaug.txt``. Those that ``train.txt`` does not list have their labels in
            ``SegmentationClassAug``.
        instances: also read the instance maps in ``SegmentationObject``. They cover all classes but the background.

    Examples:
        >>> from segattn.data import VOC
        >>> dataset = VOC("data/VOCdevkit/VOC2012", "val")
        >>> len(dataset.classes), sorted(dataset[0])
        (21, ['image', 'mask', 'name'])
    """

    layout: ClassVar[str] = (
        "JPEGImages/*.jpg, SegmentationClass/*.png and ImageSets/Segmentation/{train,val}.txt (with SBD also "
        "SegmentationClassAug/*.png and trainaug.txt, which scripts/prepare_voc.py writes)"
    )
    label_files: ClassVar[str] = ""  # a folder holds the label files of all splits
    remedy: ClassVar[str] = (
        "get VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012 and pass its folder "
        "VOCdevkit/VOC2012"
    )

    def __init__(self, root: Path | str, split: str = "train", *, sbd: bool = False, instances: bool = False) -> None:
        root = Path(root)
        pairs = self._listed(root, self.part(split), "SegmentationClass")
        if sbd and split == "train":
            official = {pair.name for pair in pairs}
            listed = self._listed(root, "trainaug", "SegmentationClassAug")
            pairs += [pair for pair in listed if pair.name not in official]
        if instances:
            pairs = [replace(pair, instances=root / "SegmentationObject" / pair.mask.name) for pair in pairs]
        super().__init__(root, CLASSES, pairs, SCHEME.label_map)

    @classmethod
    def _listed(cls, root: Path, name: str, masks: str) -> list[Pair]:
        listing = root / "ImageSets" / "Segmentation" / f"{name}.txt"
        return cls.listed_pairs(listing, root / "JPEGImages", root / masks)

    @staticmethod
    def read_instances(path: Path) -> Int32[np.ndarray, "h w"]:
        """Read instance ids; the borders of the objects, 255, have no instance."""
        instances = read_labels(path).astype(np.int32)
        return np.where(instances == IGNORE_INDEX, 0, instances)
