"""Callbacks of every run: progress bar, table of scores, overlays, final validation, and stopping on signals."""

import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import Tensor

from segattn.io.overlay import blend
from segattn.io.raster_files import as_rgb
from segattn.sample import Batch
from segattn.training.task import SegmentationTask


class ProgressBar(RichProgressBar):
    """Lightning's progress bar without the version number of the run."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the values to show."""
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        return super()._get_train_description(current_epoch).replace("/-2", "   ")  # without max_epochs


class ScoreTable(Callback):
    """Prints the scores at the end of ``fit``, ``validate`` and ``test``, and the paths of the checkpoints."""

    @rank_zero_only
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print the scores of the last evaluation, and after a fit the best and the last checkpoint."""
        if isinstance(pl_module, SegmentationTask):
            print_scores(pl_module, "test" if stage == "test" else "val")
        if stage != "fit":
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.best_model_path:
                score = callback.best_model_score if callback.monitor else None
                suffix = f" ({callback.monitor} {float(score):.4f})" if score is not None else ""
                which = "last" if callback.monitor is None else "best"
                Console().print(f"{which} checkpoint: {shown_path(callback.best_model_path)}{suffix}", soft_wrap=True)


class ValidateAtEnd(Callback):
    """Validates after the last training step, so that every fit writes checkpoints."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """At the last step, stop the run if no validation is due: Lightning validates before an early stop."""
        ends = trainer.should_stop or is_last_step(trainer)
        if ends and not validation_is_due(trainer):
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = None


def is_last_step(trainer: Trainer) -> bool:
    """Whether the optimizer has made its last step."""
    return trainer.global_step >= trainer.estimated_stepping_batches


def validation_is_due(trainer: Trainer) -> bool:
    """Whether a validation follows this training step."""
    batches = trainer.fit_loop._data_fetcher
    return batches is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(batches)


def print_scores(task: SegmentationTask, stage: str) -> None:
    """Print the scores of the task's last evaluation, if there was one, in percent, per class and averaged.

    Classes that occur neither in the ground truth nor in the predictions have no scores; one row counts them.
    """
    scores = task.evaluation.scores
    if not scores:
        return
    present = {index: name for index, name in enumerate(task.classes.names) if not torch.isnan(scores["iou"][index])}
    absent = len(task.classes) - len(present)
    sizes = scores.get("sizes")
    buckets = task.evaluation.sizes.sizes.names if sizes and task.evaluation.sizes else ()
    table = Table("class", title=f"{stage} scores in percent")
    for column in ("IoU", *buckets, *(("objects",) if buckets else ())):
        table.add_column(column, justify="right")
    for index, name in present.items():
        split = [_percent(value) for value in sizes["iou"][index]] if sizes else []
        counts = ["/".join(str(int(count)) for count in sizes["objects"][index])] if sizes else []
        table.add_row(name, _percent(scores["iou"][index]), *split, *counts)
    if absent:
        table.add_row(f"{absent} absent class{'es' if absent > 1 else ''}", "-")
    table.add_section()
    split = [_percent(sizes[f"miou_{bucket}"]) for bucket in buckets] if sizes else []
    counts = ["/".join(str(int(sizes[f"objects_{bucket}"])) for bucket in buckets)] if sizes else []
    table.add_row("miou", _percent(scores["miou"]), *split, *counts, style="bold")
    recalls = [_percent(sizes[f"mrecall_{bucket}"]) for bucket in buckets] if sizes else []
    table.add_row("mean_accuracy", _percent(scores["mean_accuracy"]), *recalls)
    table.add_row("pixel_accuracy", _percent(scores["pixel_accuracy"]))
    console = Console(markup=False)
    console.print(table)
    if sizes:
        console.print(_found_table(sizes, ("all", *buckets), present))
    if "further" in scores:
        console.print(_further_table(scores, present))
    conventions = f"Inference: {task.inference.description}. {task.evaluation.conventions}"
    console.print(conventions, soft_wrap=True, highlight=False)


def _found_table(scores: dict[str, Tensor], sizes: Sequence[str], present: Mapping[int, str]) -> Table:
    """The table of the objects found and the false alarms, from the scores by size; only classes that occur."""
    table = Table("class", title="objects found (recall above 50 %), in percent")
    for column in (*sizes, "false alarms"):
        table.add_column(column, justify="right")
    for index, name in present.items():
        counts = "/".join(str(int(count)) for count in scores["alarms"][index])
        table.add_row(name, *map(_percent, scores["found_share"][index]), counts)
    table.add_section()
    suffixes = ["", *(f"_{size}" for size in sizes[1:])]
    for key in ("found", "found_precision", "found_f1"):
        table.add_row(key, *(_percent(scores[f"{key}{suffix}"]) for suffix in suffixes), style="bold")
    alarms = (f"{float(scores[f'false_alarms{suffix}']):.2f}" for suffix in suffixes)
    table.add_row("false_alarms per image", *alarms)
    return table


def _further_table(scores: dict[str, Any], present: Mapping[int, str]) -> Table:
    """The table of the further scores: first those per class with their means, then the others."""
    scores = {**scores, **scores["further"]}
    columns = {"precision": "mean_precision", "recall": "mean_accuracy", "f1": "mean_f1"}
    columns |= {"boundary_iou": "boundary_miou", "iiou": "miiou"}
    shown = {name: mean for name, mean in columns.items() if mean in scores and not torch.isnan(scores[mean])}
    table = Table("class", title="further scores in percent")
    for name in shown:
        table.add_column(name, justify="right")
    for index, name in present.items():
        table.add_row(name, *(_percent(scores[column][index]) for column in shown))
    table.add_section()
    table.add_row("mean", *(_percent(scores[mean]) for mean in shown.values()), style="bold")
    for name in ("frequency_weighted_iou", *(key for key in scores if key.startswith(("miou_image", "miou_class")))):
        table.add_row(name, _percent(scores[name]))
    return table


class OverlayImages(Callback):
    """Logs the first validation images of every validation, blended with their predicted classes, to TensorBoard.

    Args:
        count: number of images.
        opacity: opacity of the predicted colors over the image, 0..1.
    """

    def __init__(self, count: int = 4, opacity: float = 0.5) -> None:
        if count < 0 or not 0 <= opacity <= 1:
            raise ValueError(f"OverlayImages needs count >= 0 and opacity in 0..1, got {count} and {opacity}.")
        self.count = count
        self.opacity = opacity
        self._logged = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the number of logged images."""
        self._logged = 0

    @rank_zero_only
    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Log the images of a batch until ``count`` is reached."""
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not boards or trainer.sanity_checking or not isinstance(pl_module, SegmentationTask):
            return
        for image, prediction, name in zip(batch["image"], outputs, batch["name"], strict=True):
            if self._logged >= self.count:
                return
            self._logged += 1
            figure = self._figure(image, prediction, pl_module)
            for board in boards:
                board.experiment.add_image(f"val/{name}", figure, trainer.global_step, dataformats="HWC")

    def _figure(self, image: Tensor, prediction: Tensor, task: SegmentationTask) -> Any:
        size = (int(prediction.shape[-2]), int(prediction.shape[-1]))
        pixels = torch.nn.functional.interpolate(image[None].float(), size=size, mode="bilinear")[0]
        if task.model.spec.channels is None:
            pixels = (pixels * 255).round().to(torch.uint8)
        rgb = as_rgb(pixels.permute(1, 2, 0).cpu().numpy())
        return blend(rgb, prediction.cpu().numpy(), task.classes.palette, opacity=self.opacity)


class GracefulStop(Callback):
    """On Ctrl-C or SIGTERM, finishes the step and writes ``last.ckpt``, from which ``--ckpt_path last`` resumes.

    A validation that runs or is due is finished first, and the run stops after the next step: Lightning skips the
    validation when it resumes from a checkpoint between step and validation. The batches of a step are finished too,
    because a checkpoint does not contain accumulated gradients. A second Ctrl-C stops at once.

    Args:
        folder: folder of the run's checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stop = False
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers; Lightning has installed its own by now."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the previous handlers; Lightning then restores those before its own."""
        self.on_train_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save and stop if any process got a signal, unless a validation is due or this was the last step anyway."""
        stop = trainer.strategy.reduce_boolean_decision(self._stop, all=False)  # all processes stop at the same step
        stop = stop and not trainer.fit_loop._should_accumulate()
        if stop and not is_last_step(trainer) and not validation_is_due(trainer):
            path = trainer.strategy.broadcast(self.folder) / "last.ckpt"  # the version number may differ by process
            trainer.save_checkpoint(path, weights_only=False)
            trainer._logger_connector.update_train_step_metrics()  # Lightning would log this step after the callbacks
            if trainer.is_global_zero:
                Console().print(f"stopped; resume with --ckpt_path last ({shown_path(path)})", soft_wrap=True)
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._stop:
            self._stop = True
            Console().print("\nstopping after this training step; press Ctrl-C again to stop at once")


def _percent(value: Tensor) -> str:
    return "-" if torch.isnan(value) else f"{100 * float(value):.2f}"


def shown_path(path: str | Path) -> str:
    """The path relative to the current folder, if it is inside."""
    absolute = Path(path).absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
