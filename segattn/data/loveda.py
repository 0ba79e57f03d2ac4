"""LoveDA (Wang et al., NeurIPS Datasets and Benchmarks 2021, arXiv 2110.08733).

2,522 training and 1,669 validation aerial images of 1024x1024 with seven classes: https://github.com/Junjue-Wang/LoveDA
"""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import pair_files

SCHEME = LabelScheme.read(Path(__file__).with_name("loveda_classes.yaml"))
CLASSES = SCHEME.classes


class LoveDA(SegmentationDataset):
    """The rural and the urban images: label 0 (no data) is ignored, the labels 1..7 are the indices 0..6.

    Args:
        root: the folder that holds ``Train`` and ``Val``. The images of an area whose folder is missing are left out.
            The folders of OpenMMLab, ``img_dir`` and ``ann_dir``, are read where they exist.
        split: ``train`` or ``val``. The test labels are not public.

    Examples:
        >>> from segattn.data import LoveDA
        >>> dataset = LoveDA("data/LoveDA", "val")
        >>> len(dataset.classes), sorted(dataset[0])
        (7, ['image', 'mask', 'name'])
    """

    layout: ClassVar[str] = (
        "{Train,Val}/{Rural,Urban}/images_png/*.png and {Train,Val}/{Rural,Urban}/masks_png/*.png, or "
        "img_dir/{train,val}/*.png and ann_dir/{train,val}/*.png"
    )
    remedy: ClassVar[str] = (
        "get it from https://github.com/Junjue-Wang/LoveDA and pass the folder that holds Train and Val"
    )
    parts: ClassVar[dict[str, str]] = {"train": "Train", "val": "Val"}

    def __init__(self, root: Path | str, split: str = "train") -> None:
        root, part = Path(root), self.part(split)
        if (images := root / "img_dir" / part.lower()).is_dir():
            pairs = pair_files(images, root / "ann_dir" / part.lower())
        else:
            folder = self.existing(root / part)
            pairs = [
                replace(pair, name=f"{area}/{pair.name}")  # both areas may use the same numbers
                for area in ("Rural", "Urban")
                for pair in pair_files(folder / area / "images_png", folder / area / "masks_png")
            ]
        super().__init__(root, CLASSES, pairs, SCHEME.label_map)
