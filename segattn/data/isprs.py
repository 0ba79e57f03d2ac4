"""The ISPRS 2D semantic labeling benchmarks Potsdam and Vaihingen (Rottensteiner et al., ISPRS Annals 2012).

Aerial images: 24 training and 14 test images of Potsdam, 16 and 17 of Vaihingen:
https://www.isprs.org/education/benchmarks/UrbanSemLab/semantic-labeling.aspx
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Integer

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import read_labels_or_colors
from segattn.data.label_map import LabelMap, color_values

SCHEME = LabelScheme.read(Path(__file__).with_name("isprs_classes.yaml"))
CLASSES = SCHEME.classes
_COLORS = LabelMap([0, *color_values(CLASSES.palette).tolist()], num_values=1 << 24)  # black: boundaries


class ISPRS(SegmentationDataset):
    """Tiles or complete images of either benchmark; label files contain labels or the colors of the benchmark.

    Label 0 (boundaries, black) is ignored, the labels 1..6 are the indices 0..5.

    Args:
        root: the folder that holds ``img_dir`` and ``ann_dir``.
        split: ``train`` or ``val``.

    Examples:
        >>> from segattn.data import ISPRS
        >>> dataset = ISPRS("data/potsdam", "val")
        >>> len(dataset.classes), sorted(dataset[0])
        (6, ['image', 'mask', 'name'])
    """

    layout: ClassVar[str] = "img_dir/{train,val}/*.png and ann_dir/{train,val}/*.png with values 0 to 6"
    remedy: ClassVar[str] = (
        "request it at https://www.isprs.org and cut it with `python scripts/prepare_tiles.py potsdam` (or vaihingen)"
    )
    folders: ClassVar[tuple[str, str]] = ("img_dir", "ann_dir")

    def __init__(self, root: Path | str, split: str = "train") -> None:
        super().__init__(root, CLASSES, self.find_pairs(root, split), SCHEME.label_map)

    def read_values(self, path: Path) -> Integer[np.ndarray, "h w"]:
        """Read labels, of colors where the file contains colors."""
        return read_labels_or_colors(path, _COLORS)
