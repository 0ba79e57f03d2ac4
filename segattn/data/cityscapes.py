"""Cityscapes (Cordts et al., CVPR 2016, arXiv 1604.01685).

2,975 training and 500 validation images of 1024x2048 with 19 evaluated classes: https://www.cityscapes-dataset.com
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import Pair, read_labels
from segattn.data.label_map import LabelMap
from segattn.io.image_listing import list_images
from segattn.sample import ClassInfo, ClassTable

CLASSES = ClassTable(
    (
        ClassInfo("road", (128, 64, 128), 7),
        ClassInfo("sidewalk", (244, 35, 232), 8),
        ClassInfo("building", (70, 70, 70), 11),
        ClassInfo("wall", (102, 102, 156), 12),
        ClassInfo("fence", (190, 153, 153), 13),
        ClassInfo("pole", (153, 153, 153), 17),
        ClassInfo("traffic light", (250, 170, 30), 19),
        ClassInfo("traffic sign", (220, 220, 0), 20),
        ClassInfo("vegetation", (107, 142, 35), 21),
        ClassInfo("terrain", (152, 251, 152), 22),
        ClassInfo("sky", (70, 130, 180), 23),
        ClassInfo("person", (220, 20, 60), 24, thing=True),
        ClassInfo("rider", (255, 0, 0), 25, thing=True),
        ClassInfo("car", (0, 0, 142), 26, thing=True),
        ClassInfo("truck", (0, 0, 70), 27, thing=True),
        ClassInfo("bus", (0, 60, 100), 28, thing=True),
        ClassInfo("train", (0, 80, 100), 31, thing=True),
        ClassInfo("motorcycle", (0, 0, 230), 32, thing=True),
        ClassInfo("bicycle", (119, 11, 32), 33, thing=True),
    )
)
"""The 19 evaluated classes, with the label ids of ``labelIds.png``; things are the classes with instances."""

NUM_LABEL_IDS = 34
LICENSE_PLATE = 255  # -1 in the official table, as 8 bits
FIRST_INSTANCE = 1000
NUM_IMAGES = {"train": 2975, "val": 500}


class Cityscapes(SegmentationDataset):
    """The fine annotations with the 19 evaluated classes; all other labels are ignored.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: ``train`` or ``val``. The test labels are not public.
        instances: also read the instance maps. They cover the thing classes.
    """

    layout: ClassVar[str] = (
        "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and gtFine/{train,val}/CITY/*_gtFine_labelIds.png"
    )
    label_files: ClassVar[str] = "*_gtFine_labelIds.png"
    remedy: ClassVar[str] = (
        "register at https://www.cityscapes-dataset.com, unpack leftImg8bit_trainvaltest.zip and "
        "gtFine_trainvaltest.zip there, and check the copy with `python scripts/prepare_cityscapes.py`"
    )

    def __init__(self, root: Path | str, split: str = "train", *, instances: bool = False) -> None:
        part = self.part(split)
        folder = self.existing(Path(root) / "leftImg8bit" / part)
        labels = Path(root) / "gtFine" / part
        pairs = []
        for image in map(Path, list_images(folder)):
            name = image.relative_to(folder)
            stem = name.name.removesuffix("_leftImg8bit.png")
            files = [labels / name.parent / f"{stem}_gtFine_{kind}.png" for kind in ("labelIds", "instanceIds")]
            pairs.append(Pair(name.as_posix(), image, files[0], files[1] if instances else None))
        other = set(range(NUM_LABEL_IDS)) - set(CLASSES.label_ids)
        super().__init__(root, CLASSES, pairs, LabelMap(CLASSES.label_ids, ignore=[*other, LICENSE_PLATE]))

    def read_instances(self, path: Path) -> Int32[np.ndarray, "h w"]:
        """Read instance ids (1000 * label id + number); smaller values are stuff or groups and have no instance."""
        instances = read_labels(path).astype(np.int32)
        return np.where(instances >= FIRST_INSTANCE, instances, 0)
