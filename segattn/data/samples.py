"""What training and evaluation take of a data set: samples as tensors, augmented or resized, and batches of them."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
from torch.utils.data import Dataset, default_collate

from segattn.data.dataset import SegmentationDataset, to_sample
from segattn.data.transforms import TrainingTransform
from segattn.sample import Batch, Sample

FindObjects = Callable[[npt.NDArray[Any], npt.NDArray[Any] | None], Any]


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
    """A data set whose images keep their own size.

    Args:
        dataset: whose samples are read.
        find_objects: made of every mask and its instances (or None) as the sample's ``objects``, in the loading worker.
    """

    def __init__(self, dataset: SegmentationDataset, *, find_objects: FindObjects | None = None) -> None:
        self.dataset = dataset
        self.find_objects = find_objects

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        raw = self.dataset.read(index)
        sample = to_sample(raw)
        if self.find_objects is not None:
            sample["objects"] = self.find_objects(raw.mask, raw.instances)
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
