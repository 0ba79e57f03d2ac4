"""Measure the cost of the attention blocks on this machine, fused against plain.

python scripts/benchmark_attention.py                        # print the tables
python scripts/benchmark_attention.py --markdown cost.md --figure cost.svg
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from torch import nn

from segattn import attention
from segattn.benchmark.measure import (
    ModuleFactory,
    Shape,
    best_seconds,
    count_multiply_adds,
    count_parameters,
    forward_and_step,
    machine,
    peak_memory,
)


class Usage(NamedTuple):
    """Seconds of the fastest run, and MiB of peak memory in addition to weights and input."""

    seconds: float
    mebibytes: float


def matrix_product_rate(device: torch.device, dtype: torch.dtype, *, side: int = 2048, repeats: int = 5) -> float:
    """Measure the multiply-adds per second of a square matrix product: the arithmetic limit of the machine."""
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    (seconds,) = best_seconds([lambda: torch.mm(a, b)], device=device, repeats=repeats)
    return side**3 / seconds


def usage(factory: ModuleFactory, shape: Shape, *, device: torch.device, repeats: int = 3) -> tuple[Usage, Usage]:
    """Measure a forward pass and a training step in float32."""
    memory = peak_memory(factory, shape, device=device)
    functions = forward_and_step(factory, shape, device=device, dtype=torch.float32)
    times = best_seconds(functions, device=device, repeats=repeats)
    forward, step = (Usage(*pair) for pair in zip(times, memory, strict=True))
    return forward, step


def without_convolution(channels: int, *, implementation: Literal["fused", "plain"] = "fused") -> nn.Module:
    """The fully attentional block without its final 3x3 convolution, which has most of the multiply-adds."""
    block = attention.FullyAttentional(channels, implementation=implementation)
    block.register_module("conv", nn.Identity())
    return block


FUSED: dict[str, Callable[..., nn.Module]] = {
    "PositionAttention": attention.PositionAttention,
    "FullyAttentional": attention.FullyAttentional,
    "FullyAttentional, no convolution": without_convolution,
}
RESNET50 = [(64, 256, 56)] * 3 + [(128, 512, 28)] * 4 + [(256, 1024, 14)] * 6 + [(512, 2048, 7)] * 3
"""Residual blocks at 224x224: inner channels, output channels, side of the map."""

PRINTED = {
    "SqueezeExcite": "+2.5 M, at the end of the block",
    "CBAM": "+2.53 M, at the end of the block",
    "ECA": "+86 in total, at the end of the block",
    "ShuffleAttention": "+300 (a block of width 256 to 2048 has 12 to 96, all blocks 708)",
}
"""Parameters that the blocks add to a ResNet-50 according to their papers."""

EXPLANATION = """\
Memory is the peak beyond weights and input; for a training step it includes all gradients. Time is the fastest of seven
runs (three in the table of all blocks), with plain and fused in turns. *Of the limit* is the fused time divided by the
time of its multiply-adds at the rate of a 2048x2048 matrix product on the same machine, {rate:.0f} G per second; a
training step counts as three forward passes. Multiply-adds are those of matrix products and convolutions, without
element-wise operations.

![Memory and time of a training step against the side of the feature map](attention_cost.svg)
"""

Row = Sequence[str]


def table(title: str, header: Row, rows: Sequence[Row]) -> str:
    """A Markdown table under a heading, with aligned columns."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    body = "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)
    return f"## {title}\n\n{body}\n"


def all_blocks(device: torch.device, channels: int, side: int) -> str:
    """Parameters, multiply-adds, time and memory of all blocks."""
    shape = (1, channels, side, side)
    rows = []
    for name in attention.__all__:
        factory = partial(getattr(attention, name), channels)
        forward, step = usage(factory, shape, device=device)
        rows.append(
            [
                name,
                f"{count_parameters(factory()):,}",
                f"{count_multiply_adds(factory(), shape) / 1e6:,.1f}",
                f"{forward.seconds * 1e3:.1f}",
                f"{forward.mebibytes:.0f}",
                f"{step.seconds * 1e3:.1f}",
                f"{step.mebibytes:.0f}",
            ]
        )
    header = ["block", "parameters", "M multiply-adds", "forward ms", "forward MiB", "step ms", "step MiB"]
    return table(f"All blocks, {channels} channels, {side}x{side}", header, rows)


def fused_against_plain(
    shapes: Sequence[Shape], *, device: torch.device, dtype: torch.dtype, channels: int = 512
) -> Iterator[list[str]]:
    """One row per block, shape and pass: plain, fused, and their ratio."""
    rate = matrix_product_rate(device, dtype)
    for name, block in FUSED.items():
        for shape in shapes:
            factories: list[ModuleFactory] = [
                partial(block, channels, implementation=implementation) for implementation in ("plain", "fused")
            ]
            memory = [peak_memory(factory, shape, device=device, dtype=dtype) for factory in factories]
            runs = [forward_and_step(factory, shape, device=device, dtype=dtype) for factory in factories]
            for way, label in enumerate(("forward", "training step")):
                plain, fused = best_seconds([run[way] for run in runs], device=device, repeats=7)
                limit = count_multiply_adds(factories[1](), shape) * (1 if way == 0 else 3) / rate
                yield [
                    name,
                    "x".join(map(str, shape)),
                    label,
                    f"{plain:.3f}",
                    f"{fused:.3f}",
                    f"{plain / fused:.2f}",
                    f"{fused / limit:.2f}",
                    f"{memory[0][way]:.0f}",
                    f"{memory[1][way]:.0f}",
                    f"{memory[1][way] / memory[0][way]:.2f}",
                ]


COMPARISON_HEADER = [
    "block",
    "input",
    "pass",
    "plain s",
    "fused s",
    "times as fast",
    "of the limit",
    "plain MiB",
    "fused MiB",
    "of plain",
]


def in_a_resnet50() -> str:
    """Parameters and multiply-adds that a block in every residual block adds, from shapes only."""
    rows = []
    for name in attention.__all__:
        block = getattr(attention, name)
        row = [name]
        for place in (0, 1):
            parameters = products = 0
            for widths in RESNET50:
                channels, side = widths[place], widths[2]
                with torch.device("meta"):  # count on shapes, without weights
                    module = block(channels)
                parameters += count_parameters(module)
                products += count_multiply_adds(module, (1, channels, side, side))
            row += [f"{parameters:,}", f"{products / 1e6:,.1f}"]
        rows.append([*row, PRINTED.get(name, "")])
    header = ["block", "after the middle convolution", "M multiply-adds", "at the end", "M multiply-adds", "papers"]
    return table("Added to a ResNet-50 at 224x224, in all 16 residual blocks", header, rows)


def figure(path: Path, sides: Sequence[int], *, device: torch.device, channels: int = 512) -> None:
    """Draw memory and time of a training step against the side of the map."""
    drawn = {name: FUSED[name] for name in ("PositionAttention", "FullyAttentional")}
    plots, axes = plt.subplots(2, len(drawn), figsize=(9, 6.5), sharex=True, layout="constrained")
    for column, (name, block) in enumerate(drawn.items()):
        for implementation, style in (("plain", "o--"), ("fused", "o-")):
            factory = partial(block, channels, implementation=implementation)
            steps = [usage(factory, (1, channels, side, side), device=device, repeats=2)[1] for side in sides]
            axes[0, column].plot(sides, [step.mebibytes for step in steps], style, label=implementation)
            axes[1, column].plot(sides, [step.seconds for step in steps], style, label=implementation)
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel("side of the feature map (an eighth of the image's)")
        axes[0, column].legend()
    axes[0, 0].set_ylabel("peak memory of a training step, MiB")
    axes[1, 0].set_ylabel("seconds")
    for axis in axes.flat:
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    plots.suptitle(f"{channels} channels, batch 1, {machine(device)}", fontsize=9)
    with mpl.rc_context({"svg.hashsalt": "segattn"}):
        plots.savefig(path, metadata={"Date": None})
    plt.close(plots)


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, default=512, help="of the blocks (default: %(default)s)")
    parser.add_argument("--side", type=int, default=64, help="of the map for the table of all blocks")
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 128], help="of the maps for fused against plain")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="on the CPU")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file")
    parser.add_argument("--figure", type=Path, help="draw memory and time against input size into this file (SVG)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cpu = torch.device("cpu")
    rate = matrix_product_rate(cpu, torch.float32)
    shapes = [(1, arguments.channels, side, side) for side in arguments.sides]
    comparison = fused_against_plain(shapes, device=cpu, dtype=torch.float32, channels=arguments.channels)
    parts = [
        f"# Cost of the attention blocks\n\nMeasured by `scripts/benchmark_attention.py`: {machine(cpu)}, float32.\n",
        EXPLANATION.format(rate=rate / 1e9),
        table("Fused against plain", COMPARISON_HEADER, list(comparison)),
        all_blocks(cpu, arguments.channels, arguments.side),
        in_a_resnet50(),
    ]
    print("\n".join(parts))
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(parts))
        print(f"Wrote {arguments.markdown}")
    if arguments.figure:
        figure(arguments.figure, [32, 48, 64, 96, 128], device=cpu, channels=arguments.channels)
        print(f"Wrote {arguments.figure}")


if __name__ == "__main__":
    main()
