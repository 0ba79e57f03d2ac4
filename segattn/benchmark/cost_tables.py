"""Tables of measured and estimated costs, with one row per input size, module and implementation."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from segattn.benchmark.estimate import estimate_memory
from segattn.benchmark.measure import (
    MEBIBYTE,
    ModuleFactory,
    Shape,
    count_multiply_adds,
    count_parameters,
    forward_and_step,
    machine,
    peak_memory,
    seconds_in_turns,
)
from segattn.benchmark.single_modules import use_implementation
from segattn.io.table_files import write_table

WIDTH = 132

_TITLES = {
    "name": "name",
    "input": "input",
    "path": "path",
    "parameters": "parameters",
    "multiply_adds": "multiply-adds, M",
    "latency_ms": "median ms",
    "latency_p90_ms": "p90",
    "images_per_second": "images/s",
    "memory_mib": "MiB",
    "step_ms": "step ms",
    "step_memory_mib": "step MiB",
}

Variants = Mapping[tuple[str, str], ModuleFactory]
"""Modules by name and path (``fused`` or ``plain``; ``-`` for a module that is measured as it is)."""


def write_measurements(
    factories: Mapping[Shape, Variants],
    device: torch.device,
    dtype: torch.dtype,
    *,
    repeats: int = 10,
    output: Path | None = None,
) -> None:
    """Measure modules by the shape of their input, print their costs, and write them to a table file."""
    parts = [
        _measure(shape, variants, device=device, dtype=dtype, repeats=repeats) for shape, variants in factories.items()
    ]
    costs = pd.DataFrame([row for part in parts for row in part])
    where = f"{machine(device)}, {str(dtype).removeprefix('torch.')}"
    text = pd.DataFrame(
        {title: [_cell(key, value) for value in costs[key]] for key, title in _TITLES.items()}, dtype=object
    )
    _print(where, list(text.columns), text.to_numpy().tolist())
    if output:
        note = (
            f"Measured with {where}. Multiply-adds of one batch; median and 90th percentile of {repeats} predictions "
            "of one batch after a warm-up; MiB: peak beyond weights and input, of a prediction and of a training step."
        )
        write_table(output, costs.assign(machine=where), text, note=note)
        Console(markup=False, highlight=False, soft_wrap=True).print(f"wrote {output}")


def print_estimates(factories: Mapping[Shape, Variants]) -> None:
    """Print the memory that modules need, estimated from shapes."""
    rows = []
    for shape, variants in factories.items():
        for key, factory in variants.items():
            module = factory()
            optimizer: Any = getattr(module, "optimizer", None)
            weights = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
            used = (weights, *estimate_memory(module, shape, optimizer))
            first = [_cell(*cell) for cell in _first_columns(shape, key, module).items()]
            rows.append([*first, *(f"{size / MEBIBYTE:,.0f}" for size in used)])
    columns = [*list(_TITLES.values())[:5], "weights MiB", "prediction MiB", "training step MiB"]
    _print("estimated from shapes", columns, rows)
    Console(soft_wrap=True).print(
        "Only float32 tensors are counted. Convolution workspaces, memory reserved by the allocator and the CUDA "
        "context (some hundred MiB) come on top."
    )


def implementations(name: str, factory: ModuleFactory) -> Variants:
    """The factory for each implementation, or alone if the module has only one."""
    if use_implementation(factory(), "fused") == 0:
        return {(name, "-"): factory}
    return {(name, path): partial(_with_implementation, factory, path) for path in ("fused", "plain")}


def _with_implementation(factory: ModuleFactory, implementation: str) -> nn.Module:
    module = factory()
    use_implementation(module, implementation)
    return module


def _measure(
    shape: Shape, variants: Variants, *, device: torch.device, dtype: torch.dtype, repeats: int
) -> list[dict[str, Any]]:
    """The costs of modules with the same input; they take turns, so that other load affects all of them alike."""
    memory = [peak_memory(factory, shape, device=device, dtype=dtype) for factory in variants.values()]
    runs = [forward_and_step(factory, shape, device=device, dtype=dtype) for factory in variants.values()]
    forward = seconds_in_turns([run[0] for run in runs], device=device, repeats=repeats)
    step = seconds_in_turns([run[1] for run in runs], device=device, repeats=repeats)
    rows = []
    for number, (key, factory) in enumerate(variants.items()):
        median, p90 = np.percentile(forward[number], [50, 90])
        row = _first_columns(shape, key, factory())
        row |= {"latency_ms": 1e3 * median, "latency_p90_ms": 1e3 * p90, "images_per_second": shape[0] / median}
        row |= {"memory_mib": memory[number][0], "step_ms": 1e3 * np.median(step[number])}
        rows.append({**row, "step_memory_mib": memory[number][1]})
    return rows


def _first_columns(shape: Shape, key: tuple[str, str], module: nn.Module) -> dict[str, Any]:
    name, path = key
    columns = {"name": name, "input": "x".join(map(str, shape)), "path": path, "parameters": count_parameters(module)}
    return {**columns, "multiply_adds": count_multiply_adds(module, shape)}


def _cell(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if key == "multiply_adds":
        return f"{value / 1e6:,.1f}"
    return f"{value:,.1f}" if key.endswith(("_ms", "_second")) else f"{value:,.0f}"


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 3 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=max(Console().width, WIDTH), markup=False).print(table)
