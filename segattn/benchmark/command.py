"""``segattn benchmark``: the cost of a block, a head or the models of configs."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from segattn.io.command_line import run_command
from segattn.io.table_files import read_table_path
from segattn.io.yaml_files import parse_yaml

if TYPE_CHECKING:
    from segattn.benchmark.cost_tables import Variants
    from segattn.benchmark.measure import Shape


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return run_command(benchmark, arguments[1:], prog="segattn benchmark")


def read_size(text: str) -> tuple[int, int]:
    """``512x1024`` as (height, width)."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise ValueError(f"{text!r} is not a size; write HEIGHTxWIDTH such as 512x1024")
    return int(found[1]), int(found[2])


def read_option(text: str) -> tuple[str, Any]:
    """``window=7`` as a name and a YAML value."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(f"{text!r} is not an option; write NAME=VALUE such as window=7")
    try:
        return name, parse_yaml(value)
    except ValueError as error:
        raise ValueError(f"the value of {text!r} is not valid YAML") from error


def benchmark(
    *overrides: str,
    size: list[Annotated[tuple[int, int], read_size, "HxW"]],
    block: str | None = None,
    head: str | None = None,
    config: Annotated[Sequence[str], "FILE"] = (),
    batch: int = 1,
    channels: int = 512,
    encoder: str = "resnet50",
    output_stride: Literal[8, 16, 32] = 8,
    classes: int = 150,
    option: Sequence[Annotated[tuple[str, Any], read_option, "NAME=VALUE"]] = (),
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: Literal["cpu", "cuda"] = "cpu",
    repeats: int = 10,
    output: Annotated[Path | None, read_table_path, "FILE"] = None,
    predict: bool = False,
) -> int:
    """Measure a block, a head or the models of configs.

    Prints parameters, multiply-adds, time (the median and the 90th percentile for a batch, and images per second) and
    peak memory in addition to weights and input, for a prediction and a training step. Blocks and heads are measured
    fused and plain. Options with a dot, such as --model.encoder.name, change all configs as in segattn fit.

    Args:
        overrides: options that change the config
        size: sizes of a block's input, or of the images
        block: an attention block, such as SCSA
        head: a head, such as DANetHead, on the features of --encoder
        config: configs of models, shipped or your own; they take turns
        batch: images in a batch
        channels: channels of the block
        encoder: encoder below the head
        output_stride: output stride of that encoder
        classes: classes of the head
        option: arguments of the block or head
        dtype: dtype of the computation
        device: device to measure on
        repeats: timed runs of each module, after one that is not timed
        output: table of the costs, for segattn compare --costs; .csv, .md or .tex
        predict: estimate the memory from shapes alone, without running the model
    """
    if sum(map(bool, (block, head, config))) != 1:
        raise ValueError("Choose one of --block, --head and --config.")
    if overrides and not config:
        raise ValueError(f"{overrides[0]} has no effect without --config.")
    if min(batch, channels, classes, repeats) < 1:
        raise ValueError("--batch, --channels, --classes and --repeats must be positive.")
    if predict and output:
        raise ValueError("--output has no effect with --predict, which only prints estimates.")
    names = [Path(file).stem for file in config]
    if len(set(names)) < len(names):
        raise ValueError(f"The configs need different names, got {', '.join(config)}.")
    import torch

    from segattn.benchmark.cost_tables import implementations, print_estimates, write_measurements
    from segattn.benchmark.single_modules import attention_block, head_on_features
    from segattn.models.encoders import EncoderSpec

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("No CUDA device is available; omit --device to measure on the CPU.")

    factories: dict[Shape, Variants] = {}
    for height, width in size:
        shape = (batch, channels if block else 3, height, width)
        if block:
            factories[shape] = implementations(block, partial(attention_block, block, channels, dict(option)))
        elif head:
            spec = EncoderSpec(encoder, None, output_stride)
            make = partial(head_on_features, head, classes, spec, shape=shape, options=dict(option))
            factories[shape] = implementations(head, make)
        else:
            from segattn.benchmark.config_model import config_model  # loads Lightning

            makes = (partial(config_model, ("--config", file, *overrides)) for file in config)
            factories[shape] = {(name, "-"): make for name, make in zip(names, makes, strict=True)}
    if predict:
        print_estimates(factories)
    else:
        write_measurements(factories, torch.device(device), getattr(torch, dtype), repeats=repeats, output=output)
    return 0
