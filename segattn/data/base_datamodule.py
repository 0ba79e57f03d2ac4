"""The base of all data modules: batches, workers, augmentation and the order of images."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from segattn.data.augmentation import TrainingTransform
from segattn.data.copy_paste import CopyPaste, class_indices
from segattn.data.dataset import SegmentationDataset
from segattn.data.object_index import index_objects
from segattn.data.object_sampling import ObjectCrops, ObjectSampler, check_sizes
from segattn.data.samples import EvaluationDataset, TrainingDataset, collate
from segattn.data.sampling import EvaluationSampler, TrainingLoader, TrainingSampler
from segattn.data.workers import available_cores, start_worker
from segattn.sample import Batch, ClassTable, Sample, SizeRule

_MAX_DEFAULT_WORKERS = 8


class SegmentationDataModule(LightningDataModule, ABC):
    """Batches of a data set. Subclasses implement the method dataset.

    Args:
        root: the folder of the data set.
        classes: its classes.
        crop_size: (height, width) of training crops.
        batch_size: training images per step and process. The incomplete last batch of an epoch is dropped.
        val_batch_size: images per step and process in validation and test; more than 1 needs images of equal size.
        num_workers: loading processes per training process; None uses its CPU cores, at most 8.
        size_rule: image size in evaluation, and at scale 1 in training.
        seed: seed of order and augmentation.
        object_crops: share of the training crops that are centered on an object, 0..1. Its class is drawn uniformly,
            then its size, then the object; the crop is taken from the image of the object.
        object_crop_sizes: the sizes of these objects: ``small``, ``medium``, ``large``.
        copy_paste: share of the training crops that get small or medium objects of other training images, 0..1.
        copy_paste_classes: names of the classes of these objects; null for all thing classes.
        **augmentation: further arguments of :class:`segattn.data.augmentation.TrainingTransform`.

    Attributes:
        channels: number of channels of the images, if they are not 8-bit RGB.
        datasets: the data sets that :meth:`setup` opened, by split.

    Raises:
        ValueError: if a number is out of range.

    Examples:
        >>> from segattn.data import CamVid, SegmentationDataModule
        >>> class Frames(SegmentationDataModule):
        ...     def dataset(self, split):
        ...         return CamVid(self.root, split)
        >>> classes = CamVid("data/camvid").classes
        >>> data = Frames("data/camvid", classes, crop_size=(64, 96), batch_size=2, num_workers=0)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader()))["mask"].shape
        torch.Size([2, 64, 96])
    """

    channels: int | None = None

    def __init__(
        self,
        root: str,
        classes: ClassTable,
        *,
        crop_size: tuple[int, int],
        batch_size: int = 8,
        val_batch_size: int = 1,
        num_workers: int | None = None,
        size_rule: SizeRule = SizeRule(),
        seed: int = 0,
        object_crops: float = 0.0,
        object_crop_sizes: tuple[str, ...] = ("small", "medium"),
        copy_paste: float = 0.0,
        copy_paste_classes: tuple[str, ...] | None = None,
        **augmentation: Any,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("val_batch_size", val_batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        for name, share in (("object_crops", object_crops), ("copy_paste", copy_paste)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be in 0..1, got {share}.")
        check_sizes("object_crop_sizes", object_crop_sizes)
        self.root = Path(root)
        self.classes = classes
        self.crop_size = crop_size
        self.size_rule = size_rule
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.object_crops = object_crops
        self.object_crop_sizes = object_crop_sizes
        self.copy_paste = copy_paste
        self.pasted_classes = class_indices(classes, copy_paste_classes) if copy_paste or copy_paste_classes else []
        self.transform = TrainingTransform(crop_size, size_rule, channels=self.channels, **augmentation)
        self.datasets: dict[str, SegmentationDataset] = {}

    @abstractmethod
    def dataset(self, split: str) -> SegmentationDataset:
        """Open a split: ``train``, ``val`` or ``test``.

        Raises:
            DataNotFoundError: if it does not exist.
            DataError: if files contradict each other.
        """

    def setup(self, stage: str) -> None:
        """Open the splits of a stage, so that missing files are found before anything starts.

        Args:
            stage: ``fit``, ``validate``, ``test``, or ``predict``, which needs no split.
        """
        stages: dict[str, tuple[str, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
        for split in stages.get(stage, ()):
            self.datasets[split] = self.dataset(split)
            self.datasets[split].require_files()

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled batches of augmented crops; with several processes, each image goes to one of them."""
        dataset = self.datasets["train"]
        replicas, rank = self._processes()
        if len(dataset) < self.batch_size * replicas:
            raise ValueError(
                f"{len(dataset)} training images are too few for a batch of {self.batch_size} on {replicas} processes; "
                "use a smaller batch_size."
            )
        samples = TrainingDataset(dataset, self.transform, seed=self.seed)
        if self.object_crops or self.copy_paste:
            objects = index_objects(dataset, workers=self._loading(replicas)["num_workers"])
            if self.object_crops:
                centers = ObjectSampler(objects, sizes=self.object_crop_sizes)
                samples.crops = ObjectCrops(centers, self.object_crops)
            if self.copy_paste:
                samples.copy_paste = CopyPaste(
                    dataset,
                    ObjectSampler(objects, sizes=("small", "medium"), classes=self.pasted_classes),
                    self.copy_paste,
                    size_rule=self.size_rule,
                    scale_range=self.transform.scale_range,
                    flip=self.transform.flip,
                )
        sampler = TrainingSampler(samples, seed=self.seed, num_replicas=replicas, rank=rank, used=self._used)
        return TrainingLoader(
            samples, batch_size=self.batch_size, sampler=sampler, drop_last=True, **self._loading(replicas)
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Validation images in order, each on exactly one process."""
        return self._evaluation_loader(self.datasets["val"])

    def test_dataloader(self) -> DataLoader[Sample]:
        """Test images in order, each on exactly one process."""
        return self._evaluation_loader(self.datasets["test"])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move image and mask to the device; the rest is needed on the CPU."""
        moved = {key: batch[key].to(device, non_blocking=True) for key in ("image", "mask")}
        return batch | moved  # type: ignore[return-value]  # the same keys

    def loading_workers(self, processes: int = 1) -> int:
        """Number of loading processes for each of several training processes on this machine."""
        if self.num_workers is not None:
            return self.num_workers
        return max(1, min(available_cores() // processes, _MAX_DEFAULT_WORKERS))

    def _evaluation_loader(self, dataset: SegmentationDataset) -> DataLoader[Sample]:
        replicas, rank = self._processes()
        samples = EvaluationDataset(dataset)
        sampler = EvaluationSampler(samples, num_replicas=replicas, rank=rank)
        return DataLoader(samples, batch_size=self.val_batch_size, sampler=sampler, **self._loading(replicas))

    def _processes(self) -> tuple[int, int]:
        """Number of training processes, and the rank of this one."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _used(self) -> int:
        """Samples of the current epoch that this process has already trained on; 0 unless a run is resumed."""
        if not self.trainer:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed) * self.batch_size

    def _loading(self, replicas: int) -> dict[str, Any]:
        """Arguments that all loaders share."""
        workers = self.loading_workers(max(1, replicas // self.trainer.num_nodes) if self.trainer else 1)
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "collate_fn": collate,
            "worker_init_fn": start_worker,
        }
