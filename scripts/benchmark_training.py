"""Where the time of a config goes: loading alone, model alone, both together, and the cost of validation's metrics.

    python scripts/benchmark_training.py --config camvid_fla.yaml --data.root DIR --model.encoder.weights null

Takes the arguments of ``segattn fit``. Prints images per second and the share of time spent outside the model.
"""

import argparse
import itertools
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import move_data_to_device
from rich.console import Console
from rich.table import Table

from segattn.inference import infer_labels
from segattn.io.config_files import expand_configs
from segattn.training.command import SegattnCLI
from segattn.training.failures import quiet_lightning
from segattn.training.task import SegmentationTask

WARM_UP = 3


class Benchmark(SegattnCLI):
    """The parts of a run, built as ``segattn fit`` builds them, but not run."""

    def fit(self, model: LightningModule, **_: Any) -> None:
        """Run nothing."""


def main() -> None:
    """Measure a config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="training steps, and validation batches, to time")
    own, others = parser.parse_known_args()
    quiet = ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false"]
    once = ["--trainer.max_steps", str(own.steps + WARM_UP), "--trainer.barebones", "false"]
    quiet_lightning()
    arguments = ["fit", *others, *quiet, *once, "--trainer.enable_model_summary", "false"]
    cli = Benchmark(expand_configs(arguments), "run", arguments)
    task, data, device = cli.model, cli.datamodule, cli.trainer.strategy.root_device
    data.setup("fit")
    task.to(device)

    loading = timed(data.train_dataloader(), own.steps, lambda batch: None)
    batches = [move_data_to_device(batch, device) for batch in itertools.islice(data.train_dataloader(), 2)]
    step = training_step(task, device)
    bare = timed(itertools.cycle(batches), own.steps, step)
    together = timed(
        data.train_dataloader(), own.steps, lambda batch: step(data.transfer_batch_to_device(batch, device, 0))
    )

    task.eval()
    with torch.inference_mode():
        evaluated = [next(iter(data.val_dataloader()))]
        predict = timed(itertools.cycle(evaluated), own.steps, lambda batch: predicted(task, batch, device))
        scored = timed(itertools.cycle(evaluated), own.steps, lambda batch: score(task, batch, device))

    size, val_size = data.batch_size, len(evaluated[0]["name"])
    table = Table("training", "images/s", title=f"{machine(device)}, {own.steps} steps of {size} images")
    for name, seconds in (("loading alone", loading), ("model alone", bare), ("both together", together)):
        table.add_row(name, f"{size / seconds:.1f}")
    table.add_row("time outside the model", f"{100 * max(0, 1 - bare / together):.1f} %")
    table.add_section()
    table.add_row("validation: model alone", f"{val_size / predict:.1f}")
    table.add_row("validation: with all metrics", f"{val_size / scored:.1f}")
    table.add_row("time ratio with and without", f"{scored / predict:.3f}")
    Console().print(table)


def training_step(task: SegmentationTask, device: torch.device) -> Callable[[Any], None]:
    """One step on a batch, as Lightning runs it, without logging."""
    task._trainer = Trainer(logger=False, accelerator=device.type, devices=1, enable_progress_bar=False)
    optimizer = task.optimizer(task._parameter_groups())
    for name in ("log", "log_dict"):  # there is no run to log to
        setattr(task, name, lambda *_, **__: None)

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(task.training_step(batch, 0))
        optimizer.step()

    return step


def predicted(task: SegmentationTask, batch: Any, device: torch.device) -> torch.Tensor:
    """Predicted classes on the CPU."""
    return infer_labels(task, batch["image"].to(device), task.inference)


def score(task: SegmentationTask, batch: Any, device: torch.device) -> None:
    """Predict and update all metrics, the size metric on its thread."""
    on_device = batch | {"mask": batch["mask"].to(device)}
    task.evaluation.update(predicted(task, batch, device), on_device, with_sizes=True, with_further=False)


def timed(batches: Iterable[Any], steps: int, work: Callable[[Any], Any]) -> float:
    """Seconds per step, after some steps to warm up; starts again from the first batch where an epoch ends."""
    stream = endless(batches)
    for batch in itertools.islice(stream, WARM_UP):
        work(batch)
    synchronize()
    start = time.perf_counter()
    for batch in itertools.islice(stream, steps):
        work(batch)
    synchronize()
    return (time.perf_counter() - start) / steps


def endless(batches: Iterable[Any]) -> Iterator[Any]:
    """Repeat the batches endlessly."""
    while True:
        yield from batches


def synchronize() -> None:
    """Wait for the device's queue, if it has one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine(device: torch.device) -> str:
    """The hardware of the measurement."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
