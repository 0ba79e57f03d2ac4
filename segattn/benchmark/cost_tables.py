"""Tables of measured and estimated costs, with one row per input size and implementation."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from segattn.benchmark.estimate import estimate_memory
from segattn.benchmark.measure import (
    MEBIBYTE,
    ModuleFactory,
    Shape,
    best_seconds,
    count_multiply_adds,
    count_parameters,
    forward_and_step,
    machine,
    peak_memory,
)
from segattn.benchmark.single_modules import use_implementation

WIDTH = 110


def print_measurements(factories: Mapping[Shape, ModuleFactory], device: torch.device, dtype: torch.dtype) -> None:
    """Measure modules by the shape of their input and print time and peak memory."""
    title = f"{machine(device)}, {str(dtype).removeprefix('torch.')}"
    table = _table(title, "forward ms", "MiB", "step ms", "MiB")
    for shape, factory in factories.items():
        variants = _variants(factory)
        memory = {name: peak_memory(variant, shape, device=device, dtype=dtype) for name, variant in variants.items()}
        runs = [forward_and_step(variant, shape, device=device, dtype=dtype) for variant in variants.values()]
        forward = best_seconds([run[0] for run in runs], device=device)
        step = best_seconds([run[1] for run in runs], device=device)
        for index, (name, variant) in enumerate(variants.items()):
            pairs = zip((forward[index], step[index]), memory[name], strict=True)
            cells = [cell for seconds, mebibytes in pairs for cell in (f"{1e3 * seconds:,.1f}", f"{mebibytes:,.0f}")]
            table.add_row(*_first_cells(shape, name, variant()), *cells)
    _print(table)


def print_estimates(factories: Mapping[Shape, ModuleFactory]) -> None:
    """Print the memory that modules need, estimated from shapes."""
    table = _table("estimated from shapes", "weights MiB", "prediction MiB", "training step MiB")
    for shape, factory in factories.items():
        for name, variant in _variants(factory).items():
            module = variant()
            optimizer: Any = getattr(module, "optimizer", None)
            weights = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
            used = (weights, *estimate_memory(module, shape, optimizer))
            table.add_row(*_first_cells(shape, name, module), *(f"{size / MEBIBYTE:,.0f}" for size in used))
    _print(table)
    Console(soft_wrap=True).print(
        "Only float32 tensors are counted. Convolution workspaces, memory reserved by the allocator and the CUDA "
        "context (some hundred MiB) come on top."
    )


def _variants(factory: ModuleFactory) -> dict[str, ModuleFactory]:
    """The factory for each implementation, or alone under ``-`` if the module has only one."""
    if use_implementation(factory(), "fused") == 0:
        return {"-": factory}
    return {name: partial(_with_implementation, factory, name) for name in ("fused", "plain")}


def _with_implementation(factory: ModuleFactory, implementation: str) -> nn.Module:
    module = factory()
    use_implementation(module, implementation)
    return module


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in ("input", "path", "parameters", "multiply-adds, M", *columns):
        table.add_column(column, justify="left" if column in ("input", "path") else "right", no_wrap=True)
    return table


def _first_cells(shape: Shape, name: str, module: nn.Module) -> tuple[str, ...]:
    millions = count_multiply_adds(module, shape) / 1e6
    return "x".join(map(str, shape)), name, f"{count_parameters(module):,}", f"{millions:,.1f}"


def _print(table: Table) -> None:
    Console(width=max(Console().width, WIDTH)).print(table)
