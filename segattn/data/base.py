"""What every data set shares: reading a sample, and the views of it that training and evaluation take."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int32, Integer, UInt8
from torch.utils.data import Dataset, default_collate

from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.files import Pair, read_image, read_labels, require_files
from segattn.data.labels import LabelMap
from segattn.data.transforms import TrainingTransform
from segattn.images import resize_image
from segattn.sample import Batch, ClassTable, Sample, SizeRule

FindObjects = Callable[[npt.NDArray[Any], npt.NDArray[Any] | None], Any]


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


class SegmentationDataset(Dataset[Sample]):
    """Pairs of image and mask files. A sample is the whole image at its own size, without any transform.

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


class TrainingView(Dataset[Sample]):
    """A data set under augmentation.

    Its keys are ``epoch * len(dataset) + index``, and a sample depends on the seed and its key alone.
    """

    def __init__(self, dataset: SegmentationDataset, transform: TrainingTransform, *, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int) -> Sample:
        epoch, index = divmod(key, len(self.dataset))
        raw = self.dataset.read(index)
        image, mask = self.transform(raw.image, raw.mask, seed=(self.seed, epoch, index))
        return to_sample(raw._replace(image=image, mask=mask, instances=None))


class EvaluationView(Dataset[Sample]):
    """A data set whose images are resized by the size rule; labels keep their own size.

    Args:
        dataset: whose samples are read.
        size_rule: for the images.
        find_objects: made of every mask and its instances (or None) as the sample's ``objects``, in the loading worker.
    """

    def __init__(
        self, dataset: SegmentationDataset, size_rule: SizeRule, *, find_objects: FindObjects | None = None
    ) -> None:
        self.dataset = dataset
        self.size_rule = size_rule
        self.find_objects = find_objects

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        raw = self.dataset.read(index)
        sample = to_sample(raw._replace(image=resize_image(raw.image, self.size_rule.resized(*raw.mask.shape))))
        if self.find_objects is not None:
            sample["objects"] = self.find_objects(raw.mask, raw.instances)
        return sample


def to_sample(raw: RawSample) -> Sample:
    """Arrays to tensors: the image to float in 0..1 with channels first, labels to int64."""
    image = torch.from_numpy(np.ascontiguousarray(raw.image.transpose(2, 0, 1))).float().div_(255)
    sample: Sample = {"image": image, "mask": torch.from_numpy(raw.mask).long(), "name": raw.name}
    if raw.instances is not None:
        sample["instances"] = torch.from_numpy(raw.instances).long()
    return sample


def collate(samples: list[Sample]) -> Batch:
    """Stack samples to a batch.

    Raises:
        ValueError: if they differ in size.
    """
    for key in ("image", "mask"):
        sizes = {tuple(sample[key].shape[-2:]) for sample in samples}
        if len(sizes) > 1:
            raise ValueError(
                f"The {key}s of one batch differ in size, (height, width) = {', '.join(map(str, sorted(sizes)))}; "
                "evaluate such data with val_batch_size 1."
            )
    objects = [sample.pop("objects") for sample in samples if "objects" in sample]
    batch: Batch = default_collate(samples)
    if objects:
        batch["objects"] = objects
    return batch
