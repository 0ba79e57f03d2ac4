"""The model of a config to measure, with its losses in training."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from segattn.data import SegmentationDataModule
from segattn.io.config_files import expand_configs
from segattn.sample import ClassTable
from segattn.training.command import SegattnCLI
from segattn.training.failures import quiet_lightning
from segattn.training.task import SegmentationTask


def config_model(arguments: tuple[str, ...]) -> "ConfigModel":
    """The model of a config, with random weights.

    Args:
        arguments: of the command line, as ``segattn fit`` takes them.

    Raises:
        FileNotFoundError: if a config or the class table of the data is missing.
        ValueError: if a config is wrong.
    """
    quiet_lightning()
    quiet = ["--model.encoder.weights", "null", "--trainer.logger", "false", "--trainer.accelerator", "cpu"]
    return ConfigModel(_Parts(expand_configs(["fit", *arguments, *quiet]), "benchmark", arguments).model)


class ConfigModel(nn.Module):
    """A model that gives logits in evaluation, and the weighted sum of its cross-entropies in training.

    Args:
        task: of the config.
    """

    def __init__(self, task: SegmentationTask) -> None:
        super().__init__()
        self.model = task.model
        self._weights = task.auxiliary_weights
        self.optimizer = task.optimizer

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b, classes, h, w), or a scalar."""
        output = self.model(image)
        if not self.training:
            logits: Tensor = output.logits
            return logits
        batch, _, height, width = output.logits.shape
        mask = torch.zeros(batch, height, width, dtype=torch.long, device=image.device)
        total: Tensor = nn.functional.cross_entropy(output.logits, mask)
        for name, logits in output.auxiliary.items():
            total = total + self._weights[name] * nn.functional.cross_entropy(logits, mask)
        return total


class _Parts(SegattnCLI):
    """The parts of a run, built as ``segattn fit`` builds them, but not run and without data."""

    def fit(self, model: LightningModule, **_: Any) -> None:
        """Leave the parts as they are."""

    def before_fit(self) -> None:
        """Say nothing of weights."""

    def _classes_of(self, data: SegmentationDataModule) -> ClassTable:
        return data.classes
