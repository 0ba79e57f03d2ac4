"""iSAID (Waqas Zamir et al., CVPR Workshops 2019, arXiv 1905.12886).

1,411 training and 458 validation aerial images of up to 13,000 pixels with 15 classes of objects, and 655,451 annotated
instances: https://captain-whu.github.io/iSAID
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int32, Integer

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.label_files import Pair, read_colors, read_labels_or_colors
from segattn.data.label_map import LabelMap, color_values
from segattn.io.image_listing import list_images

SCHEME = LabelScheme.read(Path(__file__).with_name("isaid_classes.yaml"))
CLASSES = SCHEME.classes
_MASKS = ("_instance_color_RGB", "_instance_id_RGB")
_COLORS = LabelMap(color_values(CLASSES.palette).tolist(), num_values=1 << 24)


class ISAID(SegmentationDataset):
    """Complete images, or tiles of them. Label files contain the colors of the classes, or class indices.

    Where ``img_dir/SPLIT`` exists, its tiles are read, else the complete images in ``SPLIT/images``. The masks of these
    may also lie in that folder, as in the development kit of the authors.

    Args:
        root: the folder that holds ``train`` and ``val``, or ``img_dir`` and ``ann_dir``.
        split: ``train`` or ``val``. The test labels are not public.
        instances: also read the instance maps ``*_instance_id_RGB.png``. They cover all classes but the background.

    Examples:
        >>> from segattn.data import ISAID
        >>> dataset = ISAID("data/isaid", "val")
        >>> len(dataset.classes), sorted(dataset[0])
        (16, ['image', 'mask', 'name'])
    """

    layout: ClassVar[str] = (
        "{train,val}/images/*.png, {train,val}/Semantic_masks/images/*_instance_color_RGB.png (with instances also "
        "{train,val}/Instance_masks/images/*_instance_id_RGB.png), or tiles in img_dir/{train,val} and "
        "ann_dir/{train,val}"
    )
    label_files: ClassVar[str] = "*_instance_color_RGB.png"
    remedy: ClassVar[str] = (
        "get the images of DOTA and the masks of iSAID from https://captain-whu.github.io/iSAID, and cut the training "
        "images into tiles with `python scripts/prepare_tiles.py isaid`"
    )

    def __init__(self, root: Path | str, split: str = "train", *, instances: bool = False) -> None:
        root, part = Path(root), self.part(split)
        if (images := root / "img_dir" / part).is_dir():
            folders = [root / "ann_dir" / part] * 2
        else:
            images = self.existing(root / part / "images")
            folders = [
                next((folder for folder in (masks / "images", masks) if folder.is_dir()), images)
                for masks in (root / part / "Semantic_masks", root / part / "Instance_masks")
            ]
        pairs = []
        for image in map(Path, list_images(images)):
            if not image.stem.endswith(_MASKS):
                labels, ids = (folder / f"{image.stem}{kind}.png" for folder, kind in zip(folders, _MASKS, strict=True))
                name = image.relative_to(images).as_posix()
                pairs.append(Pair(name, image, labels, ids if instances else None))
        super().__init__(root, CLASSES, pairs, SCHEME.label_map)

    def read_values(self, path: Path) -> Integer[np.ndarray, "h w"]:
        """Read class indices, of colors where the file contains colors."""
        return read_labels_or_colors(path, _COLORS)

    @staticmethod
    def read_instances(path: Path) -> Int32[np.ndarray, "h w"]:
        """Read one number for each color; black, 0, has no instance."""
        return color_values(read_colors(path))
