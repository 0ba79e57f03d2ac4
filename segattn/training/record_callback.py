"""Writes the object record while ``validate`` or ``test`` runs: one row per object, image by image."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from segattn.metrics.background import BackgroundUpdates
from segattn.metrics.functional import object_rows
from segattn.objects.record_files import RecordInfo, RecordWriter, merge_records, part_path
from segattn.sample import Batch
from segattn.training.task import SegmentationTask


class RecordObjects(Callback):
    """Streams the rows of every evaluated image to ``objects_SPLIT.parquet``; nothing is written by ``fit``.

    Args:
        folder: of the run whose checkpoint is evaluated.
        extra: free keys of the record, such as run and data set.
    """

    def __init__(self, folder: Path, extra: dict[str, str]) -> None:
        self.folder = folder
        self.extra = extra
        self._updates = BackgroundUpdates()
        self._writer: RecordWriter | None = None

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Write the rows of a batch while the next one is computed."""
        if trainer.state.fn == "validate":
            self._record(trainer, pl_module, outputs, batch, split="val")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Likewise."""
        self._record(trainer, pl_module, outputs, batch, split="test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Complete the record."""
        self._finish(trainer, split="val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise."""
        self._finish(trainer, split="test")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no half record."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None

    def _record(self, trainer: Trainer, task: LightningModule, prediction: Any, batch: Batch, *, split: str) -> None:
        if not isinstance(task, SegmentationTask) or task.object_sizes is None:
            return
        if self._writer is None:
            path = self._path(split)
            target = part_path(path, trainer.global_rank) if trainer.world_size > 1 else path
            self._writer = RecordWriter(target, self._info(task, batch, split))
        self._updates.submit(self._write, self._writer, task, prediction.to(torch.uint8).cpu().numpy(), batch)

    def _write(self, writer: RecordWriter, task: SegmentationTask, predictions: Any, batch: Batch) -> None:
        nothing = [None] * len(batch["name"])
        targets = batch["mask"].cpu().numpy()
        instances = batch.get("instances", nothing)
        for image, prediction, target, owners, objects in zip(
            batch["name"], predictions, targets, instances, batch.get("objects", nothing), strict=True
        ):
            names = task.classes.names
            options: dict[str, Any] = {"image": image, "class_names": names, "objects": objects}
            writer.write(object_rows(prediction, target, len(names), instances=owners, **options))

    def _finish(self, trainer: Trainer, *, split: str) -> None:
        if self._writer is None:
            return
        self._updates.join()
        self._writer.close()
        self._writer = None
        path = self._path(split)
        if trainer.world_size > 1:
            trainer.strategy.barrier()
            if trainer.is_global_zero:
                merge_records([part_path(path, rank) for rank in range(trainer.world_size)], path)
        if trainer.is_global_zero:
            Console().print(f"object record: {path}", soft_wrap=True)

    def _path(self, split: str) -> Path:
        return self.folder / f"objects_{split}.parquet"

    def _info(self, task: SegmentationTask, batch: Batch, split: str) -> RecordInfo:
        sizes = task.object_sizes
        assert sizes is not None  # checked by the only caller
        head = task.model.blueprint["head"]["class_path"].rpartition(".")[2]
        return RecordInfo(
            class_names=task.classes.names,
            edges=sizes.edges,
            bucket_names=sizes.names,
            relative=sizes.relative,
            unit="instance" if "instances" in batch else "component",
            min_objects=sizes.min_objects,
            things=task.classes.things,
            extra={**self.extra, "head": head, "split": split, "environment": json.dumps(_environment(task))},
        )


def _environment(task: LightningModule) -> dict[str, str]:
    """What else the numbers may depend on."""
    packages = {name: version(name) for name in ("segattn", "torch", "lightning", "segmentation-models-pytorch")}
    on_gpu = task.device.type == "cuda"
    device = torch.cuda.get_device_name(task.device) if on_gpu else f"{task.device.type}, {platform.machine()}"
    return {"python": platform.python_version(), **packages, "device": device, "system": platform.system()}
