"""Compare forms and kernels of position attention, and of the fully attentional block, on a CUDA device.

    python scripts/benchmark_cuda.py --markdown cuda.md
    python scripts/benchmark_cuda.py --device cpu --maps 12x16 --batches 1 --repeats 2  # a trial without a device

Position attention has queries and keys of width C/8 and values of width C. A form divides the value into heads that
share query and key, and pads query and key with zeros; kernels differ in the widths that they support. Each result and
gradient is compared with double precision on the CPU before it is timed.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from segattn.attention.dot_product import attention_blocked, attention_by_kernel, attention_plain
from segattn.attention.fully_attentional import _blocked, fully_attentional
from segattn.benchmark.measure import best_seconds, machine, peak_growth

MAPS = ("64x64", "97x97", "64x128", "128x256")
"""Features of images of 512x512, 769x769, 512x1024 and 1024x2048 pixels at output stride 8."""

KERNELS = {
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
}
Function = Callable[..., Tensor]


class Case(NamedTuple):
    """Inputs of one measurement, and the multiply-adds of a forward pass and a step without padding."""

    name: str
    inputs: Sequence[Tensor]
    multiply_adds: tuple[int, int]


def in_heads(query: Tensor, key: Tensor, value: Tensor, *, heads: int, padded: bool, kernel: SDPBackend) -> Tensor:
    """Position attention with the value divided into heads; query and key padded to the width of a head if asked."""
    value = rearrange(value, "b 1 n (heads e) -> b heads n e", heads=heads).contiguous()
    if padded:
        query, key = (F.pad(part, (0, value.shape[-1] - part.shape[-1])) for part in (query, key))
    query, key = (part.expand(-1, heads, -1, -1).contiguous() for part in (query, key))
    with sdpa_kernel(kernel):
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return rearrange(attended, "b heads n e -> b 1 n (heads e)")


def position_functions(width: int, value_width: int) -> dict[str, Function]:
    """All forms of position attention by name; the plain form is first."""
    functions: dict[str, Function] = {
        "plain": attention_plain,
        "library": attention_by_kernel,
        "query blocks": attention_blocked,
    }
    for heads in (1, 4, 8):
        of_value = value_width // heads
        for padded in (False, True) if of_value > width else (False,):
            form = f"{heads} x ({of_value if padded else width}, {of_value})"
            for name, kernel in KERNELS.items():
                functions[f"{form}, {name}"] = partial(in_heads, heads=heads, padded=padded, kernel=kernel)
    return functions


def fully_attentional_functions() -> dict[str, Function]:
    """Both forms of the fully attentional block; the plain form is first."""
    return {
        "plain": partial(fully_attentional, implementation="plain"),
        "library": partial(fully_attentional, implementation="fused"),
        "line blocks": _blocked,
    }


def cases(maps: Sequence[str], batches: Sequence[int], channels: int) -> Iterator[tuple[Case, dict[str, Function]]]:
    """The inputs in double precision on the CPU, with the functions to measure."""
    width = channels // 8
    for text in maps:
        height, side = map(int, text.split("x"))
        tokens = height * side
        for batch in batches:
            shapes: list[tuple[int, ...]]
            shapes = [(batch, 1, tokens, width), (batch, 1, tokens, width), (batch, 1, tokens, channels)]
            pairs = batch * tokens**2
            counts = pairs * (width + channels), pairs * (4 * width + 3 * channels)
            inputs = [0.3 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
            yield Case(f"position {text}, batch {batch}", inputs, counts), position_functions(width, channels)
            shapes = [(batch, channels, height, side), (batch, channels, height), (batch, channels, side)]
            products = 2 * batch * channels**2 * tokens
            inputs = [0.3 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
            yield (
                Case(f"fully attentional {text}, batch {batch}", inputs, (2 * products, 7 * products)),
                fully_attentional_functions(),
            )


def output_and_gradients(function: Function, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Output for a fixed upstream gradient, and the gradients of all inputs."""
    leaves = [part.detach().requires_grad_() for part in inputs]
    output = function(*leaves)
    upstream = torch.linspace(-1, 1, output.numel(), device=output.device, dtype=torch.float64).view(output.shape)
    return [output.detach(), *torch.autograd.grad(output, leaves, upstream.to(output.dtype))]


def largest_error(results: Sequence[Tensor], references: Sequence[Tensor]) -> float:
    """Largest difference as a fraction of the largest value, over output and gradients."""
    return max(
        float((result.double().cpu() - reference).abs().max() / reference.abs().max().clamp(min=1e-30))
        for result, reference in zip(results, references, strict=True)
    )


def median_seconds(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median over the repeats, by CUDA events where there is a device; a fifth as many runs warm up."""
    for _ in range(max(1, repeats // 5)):
        function()
    if device.type != "cuda":
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)
    make = partial(torch.cuda.Event, enable_timing=True)
    events = [(make(), make()) for _ in range(repeats)]
    for start_event, end_event in events:
        start_event.record()
        function()
        end_event.record()
    torch.cuda.synchronize(device)
    return statistics.median(float(start_event.elapsed_time(end_event)) / 1e3 for start_event, end_event in events)


def rows(
    case: Case, functions: dict[str, Function], *, device: torch.device, dtype: torch.dtype, repeats: int, checked: int
) -> Iterator[list[str]]:
    """One row per function: error, then time, memory and share of the matrix rate of a forward pass and a step."""
    inputs = [part.to(device, dtype) for part in case.inputs]
    large = case.inputs[0].numel() * case.inputs[0].shape[-2] > checked
    references = None if large else output_and_gradients(attention_or_block(case), [part.double() for part in inputs])
    side = 4096 if device.type == "cuda" else 512
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    rate = side**3 / best_seconds([partial(torch.mm, matrix, matrix)], device=device, repeats=10)[0]
    plain: dict[str, float] = {}
    for name, function in functions.items():
        row = [case.name, str(dtype).removeprefix("torch."), name]
        try:
            results = output_and_gradients(function, inputs)
            error = "not compared" if references is None else f"{largest_error(results, references):.1e}"
            del results
            with torch.no_grad():
                forward = measured(partial(function, *inputs), device, repeats)
            step = measured(partial(output_and_gradients, function, inputs), device, repeats)
        except (RuntimeError, torch.OutOfMemoryError) as reason:
            yield [*row, str(reason).splitlines()[0][:60], *["-"] * 8]
            continue
        cells = [error]
        for label, (seconds, mebibytes), products in zip(
            ("forward", "step"), (forward, step), case.multiply_adds, strict=True
        ):
            plain.setdefault(label, seconds)
            cells += [f"{1e3 * seconds:.2f}", f"{plain[label] / seconds:.2f}", f"{mebibytes:.0f}"]
            cells.append(f"{100 * products / seconds / rate:.0f} %")
        yield [*row, *cells]


def attention_or_block(case: Case) -> Function:
    """The definition that a case is compared with, for the CPU."""
    if case.name.startswith("position"):
        return lambda *inputs: attention_plain(*(part.cpu() for part in inputs))
    return lambda *inputs: fully_attentional(*(part.cpu() for part in inputs), implementation="plain")


def measured(function: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, float]:
    """Median seconds, and MiB of peak memory beyond the inputs."""
    return median_seconds(function, device, repeats), peak_growth(function, device)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--maps", nargs="+", default=MAPS, metavar="HxW", help=f"default: {' '.join(MAPS)}")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4], metavar="N", help="default: 1 4")
    parser.add_argument("--channels", type=int, default=512, help="default: %(default)s")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="default: float32 bfloat16")
    parser.add_argument("--repeats", type=int, default=50, help="timed runs of each function (default: %(default)s)")
    parser.add_argument(
        "--checked", type=int, default=2**31, help="compare inputs with at most this many products (default: 2**31)"
    )
    parser.add_argument("--markdown", type=Path, help="write the table to this file as well")
    given = parser.parse_args()
    device = torch.device(given.device)
    header = ["case", "dtype", "form", "error", "forward ms", "times plain", "MiB", "of rate", "step ms"]
    header += ["times plain", "MiB", "of rate"]
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is available; --device cpu tries the script without one")
    lines = [f"{machine(device)}, CUDA {torch.version.cuda}", ""]
    lines += [" | ".join(["", *header, ""]).strip(), "|" + "---|" * len(header)]
    print("\n".join(lines), flush=True)
    limits = {"repeats": given.repeats, "checked": given.checked}
    for case, functions in cases(given.maps, given.batches, given.channels):
        for dtype in given.dtypes:
            for row in rows(case, functions, device=device, dtype=getattr(torch, dtype), **limits):
                lines.append("| " + " | ".join(row) + " |")
                print(lines[-1], flush=True)
                if given.markdown:
                    given.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
