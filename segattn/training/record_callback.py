"""Writes the object record during ``validate`` and ``test``: one row per object, image by image."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from segattn.objects import RecordInfo, RecordWriter, merge_records, part_path
from segattn.sample import Batch
from segattn.training.callbacks import shown_path
from segattn.training.task import SegmentationTask


class RecordObjects(Callback):
    """Streams the rows of each evaluated image to ``objects_SPLIT.parquet``. ``fit`` writes no record.

    Args:
        folder: folder of the run whose checkpoint is evaluated.
        extra: further metadata of the record, such as run and data set.
    """

    def __init__(self, folder: Path, extra: dict[str, str]) -> None:
        self.folder = folder
        self.extra = extra
        self._writer: RecordWriter | None = None
        self._path = folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have the evaluation keep the rows of the record, and remove what a killed process left behind."""
        self.folder = trainer.strategy.broadcast(self.folder)
        if isinstance(pl_module, SegmentationTask) and pl_module.object_sizes:
            pl_module.evaluation.keep_rows = stage in ("validate", "test")
        if trainer.is_global_zero and stage in ("validate", "test"):
            split = "test" if stage == "test" else "val"
            for pattern in (f"objects_{split}.rank*.parquet", f"partial-*-objects_{split}*.parquet"):
                for path in self.folder.glob(pattern):
                    path.unlink(missing_ok=True)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Write the rows of the images that are finished."""
        if not isinstance(pl_module, SegmentationTask) or not pl_module.evaluation.keep_rows:
            return
        if self._writer is None:
            split = "test" if trainer.testing else "val"
            self._path = self.folder / f"objects_{split}.parquet"
            target = part_path(self._path, trainer.global_rank) if trainer.world_size > 1 else self._path
            self._writer = RecordWriter(target, self._info(pl_module, batch, split))
        for rows in pl_module.evaluation.take_rows():
            self._writer.write(rows)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Complete the record."""
        if self._writer is None or not isinstance(pl_module, SegmentationTask):
            return
        for rows in pl_module.evaluation.take_rows():  # all images are finished, because the scores have been computed
            self._writer.write(rows)
        self._writer.close()
        self._writer = None
        if trainer.world_size > 1:
            trainer.strategy.barrier()
            if trainer.is_global_zero:
                merge_records([part_path(self._path, rank) for rank in range(trainer.world_size)], self._path)
        if trainer.is_global_zero:
            Console().print(f"object record: {shown_path(self._path)}", soft_wrap=True)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Write the rows of the images that are finished."""
        self.on_validation_batch_end(trainer, pl_module, outputs, batch)

    on_test_end = on_validation_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the incomplete record."""
        if self._writer is not None:
            self._writer.close(exception)
            self._writer = None

    def _info(self, task: SegmentationTask, batch: Batch, split: str) -> RecordInfo:
        sizes = task.object_sizes
        assert sizes is not None  # keep_rows is off without it
        head = type(task.model.head).__name__
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
    """Software and hardware that the scores may depend on."""
    packages = {name: version(name) for name in ("segattn", "torch", "lightning", "segmentation-models-pytorch")}
    on_gpu = task.device.type == "cuda"
    device = torch.cuda.get_device_name(task.device) if on_gpu else f"{task.device.type}, {platform.machine()}"
    return {"python": platform.python_version(), **packages, "device": device, "system": platform.system()}
