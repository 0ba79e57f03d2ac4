"""The data sets for Lightning: the loaders of training and evaluation."""

import signal
from typing import Any

import cv2
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from segattn.data.ade20k import ADE20KSource
from segattn.data.camvid import CamVidSource
from segattn.data.cityscapes import CityscapesSource
from segattn.data.dataset import SegmentationDataset
from segattn.data.folder_dataset import FolderSource
from segattn.data.samples import EvaluationView, FindObjects, TrainingView, collate
from segattn.data.sampling import EvaluationSampler, TrainingLoader, TrainingSampler
from segattn.data.shapes import ShapesSource
from segattn.data.source import SegmentationSource
from segattn.data.transforms import TrainingTransform
from segattn.sample import Batch, Sample


class SegmentationDataModule(SegmentationSource, LightningDataModule):
    """A data set for Lightning; the arguments are those of :class:`SegmentationSource`."""

    find_objects: FindObjects | None = None
    """Set by the task: what the size metric needs of every ground truth, found in the loading workers."""

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
        view = TrainingView(dataset, TrainingTransform(self.augmentation), seed=self.seed)
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

    def _evaluation_loader(self, dataset: SegmentationDataset) -> DataLoader[Sample]:
        replicas, rank = self._processes()
        view = EvaluationView(dataset, find_objects=self.find_objects)
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
        workers = self.loading_workers(max(1, replicas // self.trainer.num_nodes) if self.trainer else 1)
        return {
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
            "collate_fn": collate,
            "worker_init_fn": begin_loading,
        }


class ADE20KDataModule(ADE20KSource, SegmentationDataModule):
    """ADE20K for Lightning; the arguments are those of :class:`ADE20KSource`."""


class CamVidDataModule(CamVidSource, SegmentationDataModule):
    """CamVid for Lightning; the arguments are those of :class:`CamVidSource`."""


class CityscapesDataModule(CityscapesSource, SegmentationDataModule):
    """Cityscapes for Lightning; the arguments are those of :class:`CityscapesSource`."""


class FolderDataModule(FolderSource, SegmentationDataModule):
    """One's own images and masks for Lightning; the arguments are those of :class:`FolderSource`."""


class ShapesDataModule(ShapesSource, SegmentationDataModule):
    """Shapes for Lightning; the arguments are those of :class:`ShapesSource`."""


def begin_loading(worker: int) -> None:
    """Begin a loading process: OpenCV takes one thread instead of all cores, and signals are for the training process.

    That one finishes its step, or its validation, before it ends; clusters and terminals send signals to all of them.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))  # the second one is meant
