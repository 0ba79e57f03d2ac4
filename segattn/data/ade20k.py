"""ADE20K SceneParse150 (Zhou et al., CVPR 2017, and IJCV 2019, arXiv 1608.05442).

20,210 training and 2,000 validation images with 150 classes: http://sceneparsing.csail.mit.edu
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import read_colors
from segattn.sample import SizeRule

SCHEME = LabelScheme.read(Path(__file__).with_name("ade20k_classes.yaml"))
CLASSES = SCHEME.classes
TEST_SIZE = SizeRule(short_side=512, max_long_side=2048)


class ADE20K(SegmentationDataset):
    """SceneParse150: label 0 is ignored, the labels 1..150 are the indices 0..149.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        split: ``train`` or ``val``. The test labels are not public.
        instances: also read the instance maps in ``annotations_instance``. They cover the thing classes.

    Examples:
        >>> from segattn.data import ADE20K
        >>> dataset = ADE20K("data/ADEChallengeData2016", "val")
        >>> len(dataset.classes), sorted(dataset[0])
        (150, ['image', 'mask', 'name'])
    """

    layout: ClassVar[str] = "images/{training,validation}/*.jpg and annotations/{training,validation}/*.png"
    remedy: ClassVar[str] = "get it with `python scripts/prepare_ade20k.py` and pass the folder ADEChallengeData2016"
    parts: ClassVar[dict[str, str]] = {"train": "training", "val": "validation"}

    def __init__(self, root: Path | str, split: str = "train", *, instances: bool = False) -> None:
        pairs = self.find_pairs(root, split)
        if instances:
            folder = self.existing(Path(root) / "annotations_instance" / self.part(split))
            pairs = [replace(pair, instances=folder / pair.mask.name) for pair in pairs]
        super().__init__(root, SCHEME.classes, pairs, SCHEME.label_map)

    @staticmethod
    def read_instances(path: Path) -> Int32[np.ndarray, "h w"]:
        """Read instance ids, which are in the green channel (red is the category in another numbering)."""
        return read_colors(path)[..., 1].astype(np.int32)
