"""Cityscapes (Cordts et al., CVPR 2016, arXiv 1604.01685).

2,975 training and 500 validation images of 1024x2048 with 19 evaluated classes: https://www.cityscapes-dataset.com
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import Pair, read_labels
from segattn.io.image_listing import list_images

SCHEME = LabelScheme.read(Path(__file__).with_name("cityscapes_classes.yaml"))
CLASSES = SCHEME.classes
NUM_LABEL_IDS = 34
FIRST_INSTANCE = 1000


class Cityscapes(SegmentationDataset):
    """The fine annotations with the 19 evaluated classes; all other labels are ignored.

    Args:
        root: the folder that holds ``leftImg8bit`` and ``gtFine``.
        split: ``train`` or ``val``. The test labels are not public.
        instances: also read the instance maps. They cover the thing classes.

    Examples:
        >>> from segattn.data import Cityscapes
        >>> dataset = Cityscapes("data/cityscapes", "val", instances=True)
        >>> len(dataset.classes), sorted(dataset[0])
        (19, ['image', 'instances', 'mask', 'name'])
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
        super().__init__(root, CLASSES, pairs, SCHEME.label_map)

    @staticmethod
    def read_instances(path: Path) -> Int32[np.ndarray, "h w"]:
        """Read instance ids (1000 * label id + number); smaller values are stuff or groups and have no instance."""
        instances = read_labels(path).astype(np.int32)
        return np.where(instances >= FIRST_INSTANCE, instances, 0)
