"""ADE20K SceneParse150 (Zhou et al., CVPR 2017, and IJCV 2019, arXiv 1608.05442).

20,210 training and 2,000 validation images with 150 classes: http://sceneparsing.csail.mit.edu
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int32

from segattn.data.ade20k_classes import CLASSES
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import pair_files, read_colors
from segattn.data.label_map import LabelMap
from segattn.data.source import SegmentationSource
from segattn.sample import SizeRule

OTHER = 0
NUM_IMAGES = {"train": 20210, "val": 2000}
TEST_SIZE = SizeRule(short_side=512, max_long_side=2048)


class ADE20K(SegmentationDataset):
    """SceneParse150: label 0 is ignored, the labels 1..150 are the indices 0..149.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        split: ``train`` or ``val``; ``test`` is the validation part, since the test labels are not public.
        instances: whether to read the instance maps from ``annotations_instance`` too. They cover the thing classes.
    """

    layout: ClassVar[str] = "images/{training,validation}/*.jpg and annotations/{training,validation}/*.png"
    remedy: ClassVar[str] = "get it with `python scripts/prepare_ade20k.py` and pass the folder ADEChallengeData2016"
    parts: ClassVar[dict[str, str]] = {"train": "training", "val": "validation", "test": "validation"}

    def __init__(self, root: Path | str, split: str = "train", *, instances: bool = False) -> None:
        part = self.part(split)
        images = self.existing(Path(root) / "images" / part)
        pairs = pair_files(images, Path(root) / "annotations" / part)
        if instances:
            folder = self.existing(Path(root) / "annotations_instance" / part)
            pairs = [replace(pair, instances=folder / pair.mask.name) for pair in pairs]
        super().__init__(root, CLASSES, pairs, LabelMap(CLASSES.label_ids, ignore=[OTHER]))

    def read_instances(self, path: Path) -> Int32[np.ndarray, "h w"]:
        """Instance ids: red is the category (of another numbering), green the instance, unique in its image."""
        return read_colors(path)[..., 1].astype(np.int32)


class ADE20KSource(SegmentationSource):
    """ADE20K in a config; ``test`` evaluates the validation part.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        crop_size: (height, width) of training crops.
        size_rule: the size of whole images in evaluation, and the size at scale 1 in training.
        instances: whether evaluation reads instance maps from ``annotations_instance``.
    """

    def __init__(
        self,
        root: str = "data/ADEChallengeData2016",
        *,
        crop_size: tuple[int, int] = (512, 512),
        size_rule: SizeRule = TEST_SIZE,
        instances: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, CLASSES, crop_size=crop_size, size_rule=size_rule, **kwargs)
        self.instances = instances

    def dataset(self, split: str) -> ADE20K:
        """The images of one part."""
        return ADE20K(self.root, split, instances=self.instances and split != "train")
