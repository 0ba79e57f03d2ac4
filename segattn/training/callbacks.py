"""What a run shows and keeps beside its scores: the table at the end, overlays of images, an orderly stop."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import Tensor

from segattn.io.overlay import blend
from segattn.sample import Batch, ClassTable
from segattn.training.task import SegmentationTask


class ScoreTable(Callback):
    """Prints the scores at the end of ``fit``, ``validate`` and ``test``, and names the checkpoints."""

    @rank_zero_only
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print the scores of the last evaluation, and where the checkpoints of a fit are."""
        if isinstance(pl_module, SegmentationTask):
            print_scores(pl_module, "test" if stage == "test" else "val")
        if stage != "fit":
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.best_model_path:
                score = callback.best_model_score if callback.monitor else None
                what = f" ({callback.monitor} {float(score):.4f})" if score is not None else ""
                Console().print(f"checkpoint: {_relative(callback.best_model_path)}{what}", soft_wrap=True)


def print_scores(task: SegmentationTask, stage: str) -> None:
    """Print the scores of the task's last evaluation in percent, if there was one: per class, then the means."""
    scores = task.evaluation.scores
    if not scores:
        return
    sizes = scores.get("sizes")
    buckets = task.evaluation.sizes.names if sizes and task.evaluation.sizes else ()
    table = Table("class", title=f"{stage} scores in percent")
    for column in ("IoU", *buckets, *(("objects",) if buckets else ())):
        table.add_column(column, justify="right")
    for index, name in enumerate(task.classes.names):
        split = [_percent(value) for value in sizes["iou"][index]] if sizes else []
        counts = ["/".join(str(int(count)) for count in sizes["objects"][index])] if sizes else []
        table.add_row(name, _percent(scores["iou"][index]), *split, *counts)
    table.add_section()
    split = [_percent(sizes[f"miou_{bucket}"]) for bucket in buckets] if sizes else []
    counts = ["/".join(str(int(sizes[f"objects_{bucket}"])) for bucket in buckets)] if sizes else []
    table.add_row("miou", _percent(scores["miou"]), *split, *counts, style="bold")
    recalls = [_percent(sizes[f"mrecall_{bucket}"]) for bucket in buckets] if sizes else []
    table.add_row("mean_accuracy", _percent(scores["mean_accuracy"]), *recalls)
    table.add_row("pixel_accuracy", _percent(scores["pixel_accuracy"]))
    console = Console()
    console.print(table)
    if "further" in scores:
        console.print(_further_table(scores, task.classes))
    conventions = f"Inference: {task.inference.description}. {task.evaluation.conventions}"
    console.print(conventions, soft_wrap=True, highlight=False)


def _further_table(scores: dict[str, Any], classes: ClassTable) -> Table:
    """Scores that people compare with: per class where they have classes, then their means."""
    scores = {**scores, **scores["further"]}
    columns = {"precision": "mean_precision", "recall": "mean_accuracy", "f1": "mean_f1"}
    columns |= {"boundary_iou": "boundary_miou", "iiou": "miiou"}
    shown = {name: mean for name, mean in columns.items() if mean in scores and not torch.isnan(scores[mean])}
    table = Table("class", title="further scores in percent")
    for name in shown:
        table.add_column(name, justify="right")
    for index, name in enumerate(classes.names):
        table.add_row(name, *(_percent(scores[column][index]) for column in shown))
    table.add_section()
    table.add_row("mean", *(_percent(scores[mean]) for mean in shown.values()), style="bold")
    for name in ("frequency_weighted_iou", *(key for key in scores if key.startswith(("miou_image", "miou_class")))):
        table.add_row(name, _percent(scores[name]))
    return table


class OverlayImages(Callback):
    """Logs the first validation images of every validation, blended with their predicted classes, to TensorBoard.

    Args:
        count: how many images.
        opacity: of the predicted colors over the image, 0..1.
    """

    def __init__(self, count: int = 4, opacity: float = 0.5) -> None:
        if count < 0 or not 0 <= opacity <= 1:
            raise ValueError(f"OverlayImages needs count >= 0 and opacity in 0..1, got {count} and {opacity}.")
        self.count = count
        self.opacity = opacity
        self._logged = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a new validation."""
        self._logged = 0

    @rank_zero_only
    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Log the images of a batch, as long as some are wanted."""
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
        pixels = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0)
        return blend(pixels.cpu().numpy(), prediction.cpu().numpy(), task.classes.palette, opacity=self.opacity)


class OrderlyStop(Callback):
    """On Ctrl-C or SIGTERM, finish the step and write ``last.ckpt``, from which ``--ckpt_path last`` goes on.

    A validation that is under way is finished first. Ctrl-C twice stops at once.

    Args:
        folder: where the checkpoints of the run are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stop = False
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals while training, after Lightning has."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._on_signal)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give them back, before Lightning does the same."""
        self._give_back()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise."""
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop here if asked to."""
        if trainer.strategy.reduce_boolean_decision(self._stop, all=False):  # of all processes at the same step
            path = trainer.strategy.broadcast(self.folder) / "last.ckpt"  # another process may have counted further
            trainer.save_checkpoint(path, weights_only=False)
            if trainer.is_global_zero:
                Console().print(f"stopped; go on with --ckpt_path last ({_relative(path)})", soft_wrap=True)
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._stop:
            self._stop = True
            Console().print("\nstopping after this training step; press Ctrl-C again to stop at once")


def _percent(value: Tensor) -> str:
    return "-" if torch.isnan(value) else f"{100 * float(value):.2f}"


def _relative(path: str | Path) -> str:
    """The path as the user would type it."""
    absolute = Path(path).absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
