"""``segattn benchmark``: the cost of a block, a head or the model of a config."""

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from segattn.io.command_line import run_command
from segattn.io.yaml_files import parse_yaml

if TYPE_CHECKING:
    from segattn.benchmark.measure import ModuleFactory, Shape


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
    config: Annotated[str | None, "FILE"] = None,
    batch: int = 1,
    channels: int = 512,
    encoder: str = "resnet50",
    output_stride: Literal[8, 16, 32] = 8,
    classes: int = 150,
    option: Sequence[Annotated[tuple[str, Any], read_option, "NAME=VALUE"]] = (),
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: Literal["cpu", "cuda"] = "cpu",
    predict: bool = False,
) -> int:
    """Measure a block, a head or the model of a config.

    Prints parameters, multiply-adds, time (the fastest of three runs) and peak memory in addition to weights and input,
    for a forward pass and a training step. Options with a dot, such as --model.encoder.name, change the config as in
    segattn fit.

    Args:
        overrides: options that change the config
        size: sizes of a block's input, or of the images
        block: an attention block, such as SCSA
        head: a head, such as DANetHead, on the features of --encoder
        config: the model of a config, shipped or your own
        batch: images in a batch
        channels: channels of the block
        encoder: encoder below the head
        output_stride: output stride of that encoder
        classes: classes of the head
        option: arguments of the block or head
        dtype: dtype of the computation
        device: where to measure
        predict: estimate the memory from shapes alone, without running the model
    """
    if sum(choice is not None for choice in (block, head, config)) != 1:
        raise ValueError("Choose one of --block, --head and --config.")
    if overrides and config is None:
        raise ValueError(f"{overrides[0]} has no effect without --config.")
    if min(batch, channels, classes) < 1:
        raise ValueError("--batch, --channels and --classes must be positive.")
    import torch

    from segattn.benchmark.cost_tables import print_estimates, print_measurements
    from segattn.benchmark.single_modules import attention_block, head_on_features
    from segattn.models.encoders import EncoderSpec

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("No CUDA device is available; omit --device to measure on the CPU.")

    factories: dict[Shape, ModuleFactory] = {}
    for height, width in size:
        shape = (batch, channels if block else 3, height, width)
        if block:
            factories[shape] = partial(attention_block, block, channels, dict(option))
        elif head:
            spec = EncoderSpec(encoder, None, output_stride)
            factories[shape] = partial(head_on_features, head, classes, spec, shape=shape, options=dict(option))
        else:
            from segattn.benchmark.config_model import config_model  # loads Lightning

            factories[shape] = partial(config_model, ("--config", str(config), *overrides))
    if predict:
        print_estimates(factories)
    else:
        print_measurements(factories, torch.device(device), getattr(torch, dtype))
    return 0
