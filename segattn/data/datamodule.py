"""What every data module shares: the loaders of training and evaluation."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import cv2
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from segattn.data.base import EvaluationView, FindObjects, SegmentationDataset, TrainingView, collate
from segattn.data.sampling import EvaluationSampler, TrainingLoader, TrainingSampler
from segattn.data.transforms import TrainingTransform
from segattn.sample import Batch, ClassTable, Sample, SizeRule

_MAX_DEFAULT_WORKERS = 8
_ORIGINAL_SIZE = SizeRule()


class SegmentationDataModule(LightningDataModule, ABC):
    """A data set for Lightning.

    Args:
        root: the folder of the data set.
        classes: its classes.
        batch_size: training images a step and process. An epoch drops the images that fill no whole batch.
        val_batch_size: images a step and process in validation and test; more than one needs images of one size.
        num_workers: loading processes of each training process; None takes the cores that it has, at most 8.
        crop_size: (height, width) of training crops.
        size_rule: the size of whole images in evaluation, and the size at scale 1 in training.
        scale_range: smallest and largest random scale in training.
        max_class_share: the largest share of a training crop that one class may cover, if ten tries find one.
        flip: probability of a horizontal flip in training.
        photometric: whether training changes brightness, contrast, saturation and hue.
        seed: of the order and the augmentation: equal seeds give equal batches.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        root: str,
        classes: ClassTable,
        *,
        crop_size: tuple[int, int],
        batch_size: int = 8,
        val_batch_size: int = 1,
        num_workers: int | None = None,
        size_rule: SizeRule = _ORIGINAL_SIZE,
        scale_range: tuple[float, float] = (0.5, 2.0),
        max_class_share: float = 0.75,
        flip: float = 0.5,
        photometric: bool = True,
        seed: int = 0,
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
        self.root = Path(root)
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._classes = classes
        self._size_rule = size_rule
        self.crop_size = crop_size
        self.scale_range = scale_range
        self._transform = TrainingTransform(
            crop_size,
            size_rule,
            scale_range=scale_range,
            max_class_share=max_class_share,
            flip=flip,
            photometric=photometric,
        )
        self.find_objects: FindObjects | None = None
        """Set by the task: what the size metric needs of every ground truth, found in the loading workers."""
        self.datasets: dict[str, SegmentationDataset] = {}
        """Those that :meth:`setup` opened, by split."""

    @abstractmethod
    def dataset(self, split: str) -> SegmentationDataset:
        """Open one part of the data set.

        Raises:
            DataNotFoundError: if it is not there.
            DataError: if an image has no mask.
        """

    @property
    def classes(self) -> ClassTable:
        """The classes of the data set."""
        return self._classes

    @property
    def num_classes(self) -> int:
        """How many classes the data set has."""
        return len(self._classes)

    @property
    def size_rule(self) -> SizeRule:
        """The size of whole images in evaluation."""
        return self._size_rule

    def setup(self, stage: str) -> None:
        """Open what a stage needs, so that missing data is found before anything starts.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``, which needs nothing.
        """
        stages: dict[str, tuple[str, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
        for split in stages.get(stage, ()):
            self.datasets[split] = self.dataset(split)

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled batches of augmented crops; under several processes each image goes to one of them.

        Raises:
            ValueError: if the images fill no batch.
        """
        dataset = self.datasets["train"]
        replicas, rank = self._processes()
        if len(dataset) < self.batch_size * replicas:
            raise ValueError(
                f"{len(dataset)} training images fill no batch of {self.batch_size} on {replicas} processes; "
                "use a smaller batch_size."
            )
        view = TrainingView(dataset, self._transform, seed=self.seed)
        sampler = TrainingSampler(view, seed=self.seed, num_replicas=replicas, rank=rank, used=self._used)
        return TrainingLoader(
            view, batch_size=self.batch_size, sampler=sampler, drop_last=True, **self._loading(replicas)
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole images in order, each on exactly one process."""
        return self._evaluation_loader(self.datasets["val"])

    def test_dataloader(self) -> DataLoader[Sample]:
        """Whole images in order, each on exactly one process."""
        return self._evaluation_loader(self.datasets["test"])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Image and mask go to the device; what metrics need on the CPU stays there."""
        moved = {key: batch[key].to(device, non_blocking=True) for key in ("image", "mask")}
        return batch | moved  # type: ignore[return-value]  # the same keys

    def loading_workers(self, replicas: int = 1) -> int:
        """Loading processes of each of several training processes."""
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        local = max(1, replicas // self.trainer.num_nodes) if self.trainer else 1
        return max(1, min(cores // local, _MAX_DEFAULT_WORKERS))

    def _evaluation_loader(self, dataset: SegmentationDataset) -> DataLoader[Sample]:
        replicas, rank = self._processes()
        view = EvaluationView(dataset, self._size_rule, find_objects=self.find_objects)
        sampler = EvaluationSampler(view, num_replicas=replicas, rank=rank)
        return DataLoader(view, batch_size=self.val_batch_size, sampler=sampler, **self._loading(replicas))

    def _processes(self) -> tuple[int, int]:
        """How many training processes there are, and which one this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _used(self) -> int:
        """Samples of this process that the current epoch has trained already; zero unless it was interrupted."""
        if not self.trainer:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed) * self.batch_size

    def _loading(self, replicas: int) -> dict[str, Any]:
        """Arguments that all loaders share."""
        workers = self.loading_workers(replicas)
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "collate_fn": collate,
            "worker_init_fn": one_thread,
        }


def require_sound_data(config: Any) -> None:
    """Refuse what the argument parser lets pass in the parsed config of a data module.

    Raises:
        ValueError: if the root or the size rule is null, or the size rule is no mapping.
    """
    given = config.get("init_args", {}) if config else {}
    for name in ("root", "size_rule"):
        if name in given and given[name] is None:
            raise ValueError(f"data.{name} must not be null.")
    rule = given.get("size_rule")
    if isinstance(rule, list | str | int | float):
        SizeRule.from_dict(rule)


def one_thread(worker: int) -> None:
    """Keep OpenCV from starting a thread for every core in each of the workers."""
    cv2.setNumThreads(0)
