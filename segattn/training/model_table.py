"""The table that ``segattn fit`` prints before training: the parts of the model and their cost."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segattn.attention.identity_start import IdentityStart
from segattn.models import SegmentationModel
from segattn.training.task import SegmentationTask


class Part(NamedTuple):
    """A part of a model.

    Attributes:
        name: ``encoder``, ``pyramid``, ``attention``, ``residual attention`` or ``head``.
        description: its class, or the name of the encoder.
        parameters: number of parameters.
        multiply_adds: number of multiply-adds for one image in evaluation mode; None if torch cannot count them.
    """

    name: str
    description: str
    parameters: int
    multiply_adds: int | None


def model_parts(model: SegmentationModel, size: tuple[int, int]) -> list[Part]:
    """The parts of a model with their cost for one image of a size (height, width)."""
    inserted, attention = model.residual_attention, list(model.attention.values())
    counts = _flops_by_module(model, size)

    def part(name: str, description: str, modules: Sequence[nn.Module], excluded: Sequence[nn.Module] = ()) -> Part:
        def total(count: Callable[[nn.Module], int]) -> int:
            return sum(map(count, modules)) - sum(map(count, excluded))

        parameters = total(lambda module: sum(parameter.numel() for parameter in module.parameters()))
        flops = None if counts is None else total(lambda module: counts.get(id(module), 0))
        return Part(name, description, parameters, None if flops is None else flops // 2)

    name = f"{model.spec.encoder.name}{' (frozen)' if model.spec.encoder.freeze else ''}"
    parts = [part("encoder", name, [model.encoder], excluded=inserted)]
    if model.pyramid is not None:
        parts.append(part("pyramid", type(model.pyramid).__name__, [model.pyramid]))
    if inserted:
        parts.append(part("residual attention", f"{_kind(inserted[0])}, {len(inserted)} blocks", inserted))
    if attention:
        levels = ", ".join(model.attention)
        parts.append(part("attention", f"{_kind(attention[0])} on level {levels}", attention))
    return [*parts, part("head", type(model.head).__name__, [model.head])]


def _kind(block: nn.Module) -> str:
    return (
        f"{type(block.block).__name__} (identity start)" if isinstance(block, IdentityStart) else type(block).__name__
    )


def _flops_by_module(model: SegmentationModel, size: tuple[int, int]) -> dict[int, int] | None:
    """Floating-point operations by the id of the module; computed from shapes alone, on the meta device."""
    copy = deepcopy(model).to("meta").eval()
    try:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            copy(torch.empty(1, model.spec.channels or 3, *size))
    except NotImplementedError:  # an operator of the user that has no shape function
        return None
    counts = {name: sum(operators.values()) for name, operators in counter.get_flop_counts().items()}
    root = type(model).__name__
    return {id(module): counts.get(f"{root}.{name}", 0) for name, module in model.named_modules()}


class ModelTable(Callback):
    """Prints the parts of the model before training.

    Args:
        size: (height, width) of the image that multiply-adds are counted for.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table."""
        if not isinstance(pl_module, SegmentationTask):
            return
        parts = model_parts(pl_module.model, self.size)
        known = [part.multiply_adds for part in parts if part.multiply_adds is not None]
        total = Part("total", "", sum(part.parameters for part in parts), sum(known) if known else None)
        table = Table("model", "", caption=f"multiply-adds of one {self.size[0]}x{self.size[1]} crop", box=None)
        for column in ("parameters", "multiply-adds"):
            table.add_column(column, justify="right")
        for part in (*parts, total):
            cost = "-" if part.multiply_adds is None else f"{part.multiply_adds / 1e9:.2f} G"
            table.add_row(part.name, part.description, f"{part.parameters / 1e6:.2f} M", cost)
        Console().print(table)
