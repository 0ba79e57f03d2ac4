"""The base class of all data sets: pairs of image and label files. torch is imported only when a sample is read."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Int32, Integer, UInt8

from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.label_files import Pair, pair_files, pair_listed, read_image, read_labels
from segattn.data.label_map import LabelMap
from segattn.io.raster_files import Pixels
from segattn.sample import ClassTable, Sample


class RawSample(NamedTuple):
    """The content of the files of a sample: the image, class indices or ``IGNORE_INDEX``, and instance ids or 0."""

    image: Pixels
    mask: UInt8[np.ndarray, "h w"]
    name: str
    instances: Int32[np.ndarray, "h w"] | None = None


class SegmentationDataset:
    """Pairs of image and label files. A sample is an image at its original size, without any transform.

    It has a length and items, so torch's ``DataLoader`` accepts it. The constructor does not look for the label files:
    :meth:`require_files` does.

    Args:
        root: the folder of the data set.
        classes: its classes.
        pairs: its files.
        label_map: the meaning of the values in the label files.

    Raises:
        DataNotFoundError: if there is no image.

    Examples:
        >>> from pathlib import Path
        >>> from segattn.data import SegmentationDataset
        >>> from segattn.data.label_files import Pair
        >>> from segattn.data.label_map import LabelMap
        >>> from segattn.sample import ClassInfo, ClassTable
        >>> classes = ClassTable((ClassInfo("road", (128, 64, 128), 1), ClassInfo("car", (0, 0, 142), 2)))
        >>> pair = Pair("a.png", Path("data/mine/images/val/frame 0.png"), Path("data/mine/masks/val/frame 0.png"))
        >>> dataset = SegmentationDataset("data/mine", classes, [pair], LabelMap(classes.label_ids, ignore=[7, 255]))
        >>> dataset[0]["mask"].unique()
        tensor([  0,   1, 255])
    """

    layout: ClassVar[str]
    """The expected files, for error messages."""
    remedy: ClassVar[str]
    """How to get the data, for error messages."""
    label_files: ClassVar[str] = "*"
    """Pattern of the names of label files."""
    parts: ClassVar[dict[str, str]] = {"train": "train", "val": "val"}
    """The folder name of each split that has labels."""
    channels: int | None = None
    """Number of channels of the images, if they are not 8-bit RGB."""
    folders: ClassVar[tuple[str, str]] = ("images", "annotations")
    """The folders that contain the images and the label files of each split in a subfolder."""

    def __init__(self, root: Path | str, classes: ClassTable, pairs: Sequence[Pair], label_map: LabelMap) -> None:
        self.root = Path(root)
        self.classes = classes
        self.pairs = list(pairs)
        self.label_map = label_map
        if not self.pairs:
            raise self.not_found(self.root)

    @classmethod
    def not_found(cls, path: Path) -> DataNotFoundError:
        """Create the error for missing data."""
        return DataNotFoundError(f"No data found in {path.absolute()}: expected {cls.layout}; {cls.remedy}.")

    @classmethod
    def part(cls, split: str) -> str:
        """The folder name of a split."""
        if split not in (*cls.parts, "test"):
            raise ValueError(f"split must be one of {', '.join(dict.fromkeys([*cls.parts, 'test']))}, got {split!r}.")
        if split not in cls.parts:
            raise DataNotFoundError(
                f"{cls.__name__} has no public labels for its test images; use `segattn validate` (split 'val')."
            )
        return cls.parts[split]

    @classmethod
    def existing(cls, folder: Path) -> Path:
        """Return the folder if it exists."""
        if not folder.is_dir():
            raise cls.not_found(folder)
        return folder

    @classmethod
    def find_pairs(cls, root: Path | str, split: str) -> list[Pair]:
        """Pair the files of the two :attr:`folders` of a split."""
        images, masks = (Path(root) / folder / cls.part(split) for folder in cls.folders)
        return pair_files(cls.existing(images), masks)

    @classmethod
    def listed_pairs(cls, listing: Path, images: Path, masks: Path) -> list[Pair]:
        """Pair the images that a text file names, one a line without suffix, with the PNG files in ``masks``."""
        if not listing.is_file():
            raise cls.not_found(listing)
        return pair_listed(listing, cls.existing(images), masks)

    def missing_files(self) -> list[tuple[Path, Path]]:
        """Images whose label file or instance map does not exist, each with that file."""
        wanted = [(pair.image, path) for pair in self.pairs for path in (pair.mask, pair.instances) if path is not None]
        folders = {path.parent for _, path in wanted}  # listing folders is much faster than one look-up per file
        present = {entry.path for folder in folders if folder.is_dir() for entry in os.scandir(folder)}
        return [(image, path) for image, path in wanted if str(path) not in present]

    def require_files(self) -> None:
        """Require a label file (and instance map) for every image."""
        if missing := self.missing_files():
            image, path = missing[0]
            others = sorted(other.name for other in path.parent.glob(f"{glob.escape(path.stem)}.*"))
            hint = f"; there is {others[0]}, but the name must be {path.name}" if others else ""
            raise DataError(f"{len(missing)} label files are missing, for example {path} for the image {image}{hint}.")

    def read_image(self, path: Path) -> Pixels:
        """Read an image file."""
        return read_image(path)

    def read_values(self, path: Path) -> Integer[np.ndarray, "h w"]:
        """Read the stored values of a label file."""
        return read_labels(path)

    def read_mask(self, path: Path) -> UInt8[np.ndarray, "h w"]:
        """Read a label file as class indices or ``IGNORE_INDEX``."""
        return self.label_map(self.read_values(path), path)

    @staticmethod
    def read_instances(path: Path) -> Int32[np.ndarray, "h w"]:
        """Read an instance map as ids, 0 where there is no instance."""
        return read_labels(path).astype(np.int32)

    def read(self, index: int) -> RawSample:
        """Read the files of a sample.

        Raises:
            DataError: if a file cannot be read, or image and labels differ in size.
        """
        pair = self.pairs[index]
        image = self.read_image(pair.image)
        mask = self.read_mask(pair.mask)
        instances = None if pair.instances is None else self.read_instances(pair.instances)
        for path, labels in ((pair.mask, mask), (pair.instances, instances)):
            if labels is not None and labels.shape != image.shape[:2]:
                raise DataError(
                    f"The image {pair.image} has {image.shape[1]}x{image.shape[0]} pixels but its label file {path} "
                    f"has {labels.shape[1]}x{labels.shape[0]}."
                )
        return RawSample(image, mask, pair.name, instances)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return to_sample(self.read(index))


def to_sample(raw: RawSample) -> Sample:
    """Convert arrays to tensors: the image to float32 with channels first, 8 bits to 0..1, and labels to int64."""
    import torch  # here, so that opening a data set does not import torch

    image = torch.from_numpy(np.ascontiguousarray(raw.image.transpose(2, 0, 1)))
    image = image.float().div_(255) if image.dtype == torch.uint8 else image
    sample: Sample = {"image": image, "mask": torch.from_numpy(raw.mask).long(), "name": raw.name}
    if raw.instances is not None:
        sample["instances"] = torch.from_numpy(raw.instances).long()
    return sample
