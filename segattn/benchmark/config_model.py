"""The model of a config, with its losses in training."""

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
    """Build the model of a config with random weights from the command line of ``segattn fit``."""
    quiet_lightning()
    quiet = ["--model.encoder.weights", "null", "--trainer.logger", "false", "--trainer.accelerator", "cpu"]
    quiet += ["--trainer.enable_checkpointing", "false"]  # otherwise it makes a folder for the run
    return ConfigModel(_Parts(expand_configs(["fit", *arguments, *quiet]), "benchmark", arguments).model)


class ConfigModel(nn.Module):
    """A model that returns logits in evaluation mode and the weighted sum of its cross-entropies in training mode."""

    def __init__(self, task: SegmentationTask) -> None:
        super().__init__()
        self.model = task.model
        self._weights = task.auxiliary_weights
        self.optimizer = task.optimizer

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b, classes, h, w), or a scalar."""
        if self.model.spec.channels:  # all configs get the same images
            image = image[:, :1].expand(-1, self.model.spec.channels, -1, -1)
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
    """Builds the parts of a run like ``segattn fit``, without data and without running them."""

    def fit(self, model: LightningModule, **_: Any) -> None:
        """Do nothing."""

    def before_fit(self) -> None:
        """Do nothing."""

    def _share_cores(self) -> None:
        """Leave the threads as they are, and print nothing."""

    def _classes_of(self, data: SegmentationDataModule) -> ClassTable:
        return data.classes
