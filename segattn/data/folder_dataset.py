"""Custom data: a folder of images, a folder of masks, and a class file."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Integer

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.errors import DataError
from segattn.data.label_files import Pair, read_colors, read_labels
from segattn.data.label_map import color_values
from segattn.io.image_files import ImageFileError
from segattn.io.image_listing import list_images
from segattn.io.raster_files import Pixels, read_raster


class Folder(SegmentationDataset):
    """Pairs of files with the same relative path and stem below a folder of images and a folder of masks.

    Args:
        images: the folder of images, with any subfolders.
        masks: the folder of masks.
        scheme: the content of the class file.
        listing: a text file with the relative paths of the images to use, one a line; None for all images.
        channels: the number of channels of the images, which are read as they are; None reads them as 8-bit RGB.

    Raises:
        DataError: if two masks belong to the same image, or the listing names an image that does not exist.

    Examples:
        >>> from pathlib import Path
        >>> from segattn.data import Folder
        >>> from segattn.data.class_file import LabelScheme
        >>> scheme = LabelScheme.read(Path("data/mine/classes.yaml"))
        >>> dataset = Folder("data/mine/images/val", "data/mine/masks/val", scheme)
        >>> len(dataset.classes), sorted(dataset[0])
        (3, ['image', 'mask', 'name'])
    """

    layout: ClassVar[str] = "a folder of images, a folder of masks with the same relative paths, and a class file"
    remedy: ClassVar[str] = "pass their paths, absolute or relative to the root"

    def __init__(
        self,
        images: Path | str,
        masks: Path | str,
        scheme: LabelScheme,
        *,
        listing: Path | None = None,
        channels: int | None = None,
    ) -> None:
        images, masks = self.existing(Path(images)), self.existing(Path(masks))
        pairs = pair_folders(images, masks)
        if listing is not None:
            pairs = self._listed(pairs, listing)
        super().__init__(images, scheme.classes, pairs, scheme.label_map)
        self.channels = channels

    def read_image(self, path: Path) -> Pixels:
        """Read an image file as 8-bit RGB, or its channels as they are."""
        if self.channels is None:
            return super().read_image(path)
        try:
            return read_raster(path, self.channels)
        except ImageFileError as error:
            raise DataError(str(error)) from error

    @classmethod
    def _listed(cls, pairs: Sequence[Pair], listing: Path) -> list[Pair]:
        if not listing.is_file():
            raise cls.not_found(listing)
        by_name = {pair.name: pair for pair in pairs}
        lines = listing.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        names = dict.fromkeys(line.strip() for line in lines if line.strip())
        if missing := [name for name in names if name not in by_name]:
            raise DataError(
                f"{len(missing)} images that {listing} lists do not exist, for example {missing[0]!r}; each line must "
                "be the path of an image relative to the folder of images."
            )
        return [by_name[name] for name in names]

    def read_values(self, path: Path) -> Integer[np.ndarray, "h w"]:
        """Read label values, or one number for each color."""
        return color_values(read_colors(path)) if self.label_map.of_colors else read_labels(path)


def pair_folders(images: Path, masks: Path) -> list[Pair]:
    """Pair every image with the mask of the same relative path and stem; one that is missing ends in ``.png``.

    Raises:
        DataError: if two masks belong to the same image.
    """
    by_stem: dict[Path, Path] = {}
    for mask in map(Path, list_images(masks)):
        stem = mask.relative_to(masks).with_suffix("")
        if stem in by_stem:
            raise DataError(f"The label files {by_stem[stem]} and {mask} belong to the same image; keep one.")
        by_stem[stem] = mask
    pairs = []
    for image in map(Path, list_images(images)):
        name = image.relative_to(images)
        mask = by_stem.get(name.with_suffix(""), masks / name.with_suffix(".png"))
        pairs.append(Pair(name.as_posix(), image, mask))
    return pairs
