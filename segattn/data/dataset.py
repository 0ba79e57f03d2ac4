"""What every data set shares: its files, and how a sample is read from them. No torch before a sample is asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Int32, Integer, UInt8

from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.label_files import Pair, read_image, read_labels, require_files
from segattn.data.label_map import LabelMap
from segattn.sample import ClassTable, Sample

_incomplete_allowed: ContextVar[bool] = ContextVar("incomplete_allowed", default=False)


@contextmanager
def incomplete_allowed() -> Iterator[None]:
    """Let data sets be opened although label files are missing, to look at what else is wrong with them."""
    token = _incomplete_allowed.set(True)
    try:
        yield
    finally:
        _incomplete_allowed.reset(token)


class RawSample(NamedTuple):
    """A sample as it comes from the files, before any transform.

    Attributes:
        image: RGB.
        mask: class indices or ``IGNORE_INDEX``.
        name: the image's path relative to the image folder.
        instances: instance ids, 0 where there is none.
    """

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]
    name: str
    instances: Int32[np.ndarray, "h w"] | None = None


class SegmentationDataset:
    """Pairs of image and mask files. A sample is the whole image at its own size, without any transform.

    A data set in the sense of torch's loaders, which need a length and items.

    Args:
        root: the folder of the data set.
        classes: its classes.
        pairs: its files.
        label_map: what the values in its label files stand for.

    Raises:
        DataNotFoundError: if there is no image.
        DataError: if an image has no mask; from ``[index]``, if a file cannot be read or used.
    """

    layout: ClassVar[str]
    """The files that the data set consists of, for messages."""
    remedy: ClassVar[str]
    """How to get the data, for messages."""
    label_files: ClassVar[str] = "*"
    """Names of the label files, as a pattern."""
    parts: ClassVar[dict[str, str]] = {"train": "train", "val": "val", "test": "val"}
    """The folder name of each split. None of the public data sets has labels for its test part."""

    def __init__(self, root: Path | str, classes: ClassTable, pairs: Sequence[Pair], label_map: LabelMap) -> None:
        self.root = Path(root)
        self.classes = classes
        self.pairs = list(pairs)
        self.label_map = label_map
        if not self.pairs:
            raise self.not_found(self.root)
        if not _incomplete_allowed.get():
            require_files(self.pairs)

    @classmethod
    def not_found(cls, path: Path) -> DataNotFoundError:
        """The error that says where the data set was looked for, what was expected there and how to get it."""
        return DataNotFoundError(f"No data found in {path.absolute()}: expected {cls.layout}; {cls.remedy}.")

    @classmethod
    def part(cls, split: str) -> str:
        """The folder name of a split.

        Raises:
            ValueError: if there is no such split.
        """
        if split not in cls.parts:
            raise ValueError(f"split must be one of {', '.join(cls.parts)}, got {split!r}.")
        return cls.parts[split]

    @classmethod
    def existing(cls, folder: Path) -> Path:
        """The folder, if it exists.

        Raises:
            DataNotFoundError: if it does not.
        """
        if not folder.is_dir():
            raise cls.not_found(folder)
        return folder

    def read_values(self, path: Path) -> Integer[np.ndarray, "h w"]:
        """The values of a label file, as they are stored.

        Raises:
            DataError: if it cannot be read as labels.
        """
        return read_labels(path)

    def read_mask(self, path: Path) -> UInt8[np.ndarray, "h w"]:
        """Class indices or ``IGNORE_INDEX``, from a label file.

        Raises:
            DataError: if it cannot be read or holds what is no label.
        """
        return self.label_map(self.read_values(path), path)

    def read_instances(self, path: Path) -> Int32[np.ndarray, "h w"]:
        """Instance ids, 0 where there is none, from an instance file; for data sets that have them."""
        raise NotImplementedError(f"{type(self).__name__} has no instance maps.")

    def read(self, index: int) -> RawSample:
        """Read one sample's files.

        Raises:
            DataError: if a file cannot be read, or image and labels differ in size.
        """
        pair = self.pairs[index]
        image = read_image(pair.image)
        mask = self.read_mask(pair.mask)
        instances = None if pair.instances is None else self.read_instances(pair.instances)
        for path, labels in ((pair.mask, mask), (pair.instances, instances)):
            if labels is not None and labels.shape != image.shape[:2]:
                raise DataError(
                    f"The image {pair.image} is {image.shape[1]}x{image.shape[0]} pixels but its label file {path} is "
                    f"{labels.shape[1]}x{labels.shape[0]}."
                )
        return RawSample(image, mask, pair.name, instances)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return to_sample(self.read(index))


def to_sample(raw: RawSample) -> Sample:
    """Arrays to tensors: the image to float in 0..1 with channels first, labels to int64."""
    import torch  # which a check of the files does without

    image = torch.from_numpy(np.ascontiguousarray(raw.image.transpose(2, 0, 1))).float().div_(255)
    sample: Sample = {"image": image, "mask": torch.from_numpy(raw.mask).long(), "name": raw.name}
    if raw.instances is not None:
        sample["instances"] = torch.from_numpy(raw.instances).long()
    return sample
