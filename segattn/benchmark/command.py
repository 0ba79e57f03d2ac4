"""``segattn benchmark``: what a block, a head or a config costs, fused beside plain."""

import argparse
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch import nn

from segattn.benchmark.block_cost import attention_block, use_implementation
from segattn.benchmark.estimate import estimate_memory
from segattn.benchmark.measure import (
    IMAGE_CHANNELS,
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

IMPLEMENTATIONS = ("fused", "plain")
WIDTH = 110
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(arguments: Sequence[str]) -> int:
    """Print one row per input size and implementation.

    Raises:
        ValueError: if there is no such block, head or device, or a config is wrong.
        FileNotFoundError: if a config is missing.
    """
    parser = _parser()
    given, others = parser.parse_known_args(arguments[1:])
    if others and given.config is None:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    if given.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA device here; leave --device out to measure on the CPU.")
    shapes = [(given.batch, given.channels if given.block else IMAGE_CHANNELS, *size) for size in given.size]
    makers = {shape: _maker(given, others, shape) for shape in shapes}
    table = _estimates(makers) if given.predict else _measurements(makers, given.device, DTYPES[given.dtype])
    console = Console()
    console = Console(width=max(console.width, WIDTH))
    console.print(table)
    if given.predict:
        console.print(
            "Tensors alone, float32: workspaces of convolutions, the allocator's reserve and a CUDA context (some "
            "hundred MiB) come on top.",
            soft_wrap=True,
        )
    return 0


def _maker(given: argparse.Namespace, others: Sequence[str], shape: Shape) -> ModuleFactory:
    """What makes the module to measure, once more in another process."""
    if given.block:
        return partial(attention_block, given.block, given.channels, dict(given.option))
    if given.head:
        from segattn.benchmark.head_cost import head_on_features
        from segattn.models.encoders import EncoderSpec

        spec = EncoderSpec(given.encoder, None, given.output_stride)
        return partial(head_on_features, given.head, given.classes, spec, shape=shape, options=dict(given.option))
    from segattn.benchmark.model_cost import config_model

    return partial(config_model, ("--config", given.config, *others))


def _switched(maker: ModuleFactory, implementation: str) -> nn.Module:
    module = maker()
    use_implementation(module, implementation)
    return module


def _variants(maker: ModuleFactory) -> dict[str, ModuleFactory]:
    """The factory for every implementation that makes a difference."""
    if use_implementation(maker(), "fused") == 0:
        return {"-": maker}
    return {name: partial(_switched, maker, name) for name in IMPLEMENTATIONS}


def _measurements(makers: dict[Shape, ModuleFactory], device_name: str, dtype: torch.dtype) -> Table:
    device = torch.device(device_name)
    table = _table(f"{machine(device)}, {str(dtype).removeprefix('torch.')}", "forward ms", "MiB", "step ms", "MiB")
    for shape, maker in makers.items():
        variants = _variants(maker)
        memory = {name: peak_memory(factory, shape, device=device, dtype=dtype) for name, factory in variants.items()}
        runs = [forward_and_step(factory, shape, device=device, dtype=dtype) for factory in variants.values()]
        forward = best_seconds([run[0] for run in runs], device=device)
        step = best_seconds([run[1] for run in runs], device=device)
        for index, (name, factory) in enumerate(variants.items()):
            pairs = zip((forward[index], step[index]), memory[name], strict=True)
            cells = [cell for seconds, mebibytes in pairs for cell in (f"{1e3 * seconds:,.1f}", f"{mebibytes:,.0f}")]
            table.add_row(*_common(shape, name, factory()), *cells)
    return table


def _estimates(makers: dict[Shape, ModuleFactory]) -> Table:
    table = _table("estimated from shapes", "weights MiB", "prediction MiB", "training step MiB")
    for shape, maker in makers.items():
        for name, factory in _variants(maker).items():
            module = factory()
            table.add_row(*_common(shape, name, module), *(f"{b / MEBIBYTE:,.0f}" for b in _bytes(module, shape)))
    return table


def _bytes(module: nn.Module, shape: Shape) -> Iterator[int]:
    """Of the weights, of a prediction and of a training step."""
    optimizer: Any = getattr(module, "optimizer", None)
    yield sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    yield from estimate_memory(module, shape, optimizer)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in ("input", "path"):
        table.add_column(column, no_wrap=True)
    for column in ("parameters", "multiply-adds, M", *columns):
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _common(shape: Shape, name: str, module: nn.Module) -> list[str]:
    parameters = count_parameters(module)
    return ["x".join(map(str, shape)), name, f"{parameters:,}", f"{count_multiply_adds(module, shape) / 1e6:,.1f}"]


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or not all(int(side) for side in found.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write height x width like 512x1024")
    return int(found.group(1)), int(found.group(2))


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is no option; write NAME=VALUE like window=7")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"the value of {text!r} is no YAML") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segattn benchmark",
        description="Parameters, multiply-adds, peak memory beyond weights and input, and time (the fastest of three "
        "runs), forward and training step. With --config, all further options are those of segattn fit.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--block", metavar="NAME", help="an attention block, such as SCSA")
    what.add_argument("--head", metavar="NAME", help="a head, such as DANetHead, on the features of --encoder")
    what.add_argument("--config", metavar="FILE", help="the model of a config, shipped or your own")
    add = parser.add_argument
    add("--size", type=_size, nargs="+", required=True, metavar="HxW", help="of a block's input, or of the images")
    add("--batch", type=_positive, default=1, metavar="N", help="default: 1")
    add("--channels", type=_positive, default=512, metavar="N", help="of the block (default: 512)")
    add("--encoder", default="resnet50", metavar="NAME", help="of the head (default: resnet50)")
    add("--output-stride", type=int, default=8, choices=(8, 16, 32), help="of the encoder (default: 8)")
    add("--classes", type=_positive, default=150, metavar="N", help="of the head (default: 150)")
    add("--option", type=_option, action="append", default=[], metavar="NAME=VALUE", help="of the block or head")
    add("--dtype", choices=DTYPES, default="float32", help="of the computation (default: float32)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    add("--predict", action="store_true", help="estimate the memory from shapes alone and run nothing")
    return parser
