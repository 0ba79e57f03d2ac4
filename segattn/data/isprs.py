"""The ISPRS 2D semantic labeling benchmarks Potsdam and Vaihingen (Rottensteiner et al., ISPRS Annals 2012).

Aerial images, cut into overlapping tiles of 512x512 by OpenMMLab's conversion scripts: 3,456 and 2,016 tiles of
Potsdam, 344 and 398 of Vaihingen: https://www.isprs.org/education/benchmarks/UrbanSemLab/semantic-labeling.aspx
"""

from pathlib import Path
from typing import ClassVar

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset

SCHEME = LabelScheme.read(Path(__file__).with_name("isprs_classes.yaml"))
CLASSES = SCHEME.classes


class ISPRS(SegmentationDataset):
    """Tiles of either benchmark: label 0 (boundaries) is ignored, the labels 1..6 are the indices 0..5.

    Args:
        root: the folder that holds ``img_dir`` and ``ann_dir``.
        split: ``train`` or ``val``.
    """

    layout: ClassVar[str] = "img_dir/{train,val}/*.png and ann_dir/{train,val}/*.png with values 0 to 6"
    remedy: ClassVar[str] = (
        "request it at https://www.isprs.org and cut it into tiles with the scripts of OpenMMLab, "
        "tools/dataset_converters/potsdam.py or vaihingen.py"
    )
    folders: ClassVar[tuple[str, str]] = ("img_dir", "ann_dir")

    def __init__(self, root: Path | str, split: str = "train") -> None:
        super().__init__(root, CLASSES, self.find_pairs(root, split), SCHEME.label_map)
