"""Pascal Context (Mottaghi et al., CVPR 2014).

4,998 training and 5,105 validation images of Pascal VOC 2010 with 59 classes and the background:
https://cs.stanford.edu/~roozbeh/pascal-context
"""

from pathlib import Path
from typing import ClassVar

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset

CLASS_FILES = ("context60", "context59", "context60_voc_first", "context59_voc_first")


def read_scheme(classes: str) -> LabelScheme:
    """Read one of the four class files.

    Raises:
        ValueError: if there is no such file.
    """
    if classes not in CLASS_FILES:
        raise ValueError(f"classes must be one of {', '.join(CLASS_FILES)}, got {classes!r}.")
    return LabelScheme.read(Path(__file__).with_name(f"{classes}_classes.yaml"))


class PascalContext(SegmentationDataset):
    """Pascal Context with the background as a class (60) or ignored (59).

    Label files exist with two orders of the classes, and their values do not show which one it is.

    Args:
        root: the folder ``VOC2010``, which holds ``JPEGImages``, ``SegmentationClassContext`` and ``ImageSets``.
        split: ``train`` or ``val``.
        classes: ``context60`` or ``context59``, in alphabetical order as OpenMMLab's conversion script writes them, or
            the same with ``_voc_first``: the 20 classes of Pascal VOC first, as in the files of FCN's authors.

    Examples:
        >>> from segattn.data import PascalContext
        >>> dataset = PascalContext("data/VOCdevkit/VOC2010", "val", classes="context59")
        >>> len(dataset.classes), sorted(dataset[0])
        (59, ['image', 'mask', 'name'])
    """

    layout: ClassVar[str] = (
        "JPEGImages/*.jpg, SegmentationClassContext/*.png and ImageSets/SegmentationContext/{train,val}.txt"
    )
    label_files: ClassVar[str] = ""  # a folder holds the label files of all splits
    remedy: ClassVar[str] = (
        "get VOC 2010 from http://host.robots.ox.ac.uk/pascal/VOC/voc2010, convert the labels with "
        "tools/dataset_converters/pascal_context.py of OpenMMLab and pass the folder VOC2010"
    )

    def __init__(self, root: Path | str, split: str = "train", *, classes: str = "context60") -> None:
        scheme, root = read_scheme(classes), Path(root)
        listing = root / "ImageSets" / "SegmentationContext" / f"{self.part(split)}.txt"
        pairs = self.listed_pairs(listing, root / "JPEGImages", root / "SegmentationClassContext")
        super().__init__(root, scheme.classes, pairs, scheme.label_map)
