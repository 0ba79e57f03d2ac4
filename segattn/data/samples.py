"""Training and evaluation samples of a data set, and batches of them."""

from torch.utils.data import Dataset, default_collate

from segattn.data.augmentation import TrainingTransform
from segattn.data.copy_paste import CopyPaste
from segattn.data.dataset import SegmentationDataset, to_sample
from segattn.data.object_sampling import ObjectCrops
from segattn.objects.ground_truth import target_objects
from segattn.sample import IGNORE_INDEX, Batch, Sample


class TrainingDataset(Dataset[Sample]):
    """Augmented samples.

    The keys are ``epoch * len(dataset) + index``; a sample depends only on its key and the seed. A crop that is
    centered on an object takes the place of the crop of the image at the index. A crop with pasted objects keeps its
    name.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        transform: TrainingTransform,
        *,
        seed: int,
    ) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self.crops: ObjectCrops | None = None
        self.copy_paste: CopyPaste | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int) -> Sample:
        epoch, index = divmod(key, len(self.dataset))
        seed = (self.seed, epoch, index)
        center = self.crops.draw(seed) if self.crops else None
        own = center.image if center else index
        raw = self.dataset.read(own)
        position = center.position if center else None
        patches = self.copy_paste.draw(seed, own) if self.copy_paste else ()
        image, mask = self.transform(raw.image, raw.mask, seed=seed, center=position, patches=patches)
        return to_sample(raw._replace(image=image, mask=mask, instances=None))


class EvaluationDataset(Dataset[Sample]):
    """Samples at their original size, with the objects of the ground truth."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        raw = self.dataset.read(index)
        sample = to_sample(raw)
        sample["objects"] = target_objects(
            raw.mask, len(self.dataset.classes), ignore_index=IGNORE_INDEX, instances=raw.instances
        )
        return sample


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch."""
    for key in ("image", "mask"):
        sizes = {tuple(sample[key].shape[-2:]) for sample in samples}
        if len(sizes) > 1:
            raise ValueError(
                f"The {key}s of a batch differ in size, (height, width) = {', '.join(map(str, sorted(sizes)))}; "
                "evaluate such data with val_batch_size 1."
            )
    objects = [sample.pop("objects") for sample in samples if "objects" in sample]
    batch: Batch = default_collate(samples)
    if objects:
        batch["objects"] = objects
    return batch
