"""What a module costs: parameters, multiply-adds, time and peak memory, forward and training step."""

import ctypes
import multiprocessing
import platform
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segattn.io.worker_process import end_with_parent

ModuleFactory = Callable[[], nn.Module]
Shape = tuple[int, int, int, int]

MEBIBYTE = 2**20
IMAGE_CHANNELS = 3


@dataclass(frozen=True)
class Usage:
    """What one way of running a module takes.

    Attributes:
        seconds: of the fastest of several runs.
        mebibytes: peak memory beyond weights and input; in a training step that includes all gradients.
    """

    seconds: float
    mebibytes: float


def count_parameters(module: nn.Module) -> int:
    """The number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_multiply_adds(module: nn.Module, shape: Shape) -> int:
    """Multiply-adds of matrix products and convolutions of one forward pass, by torch's counter.

    Args:
        module: counted without running it: on shapes alone.
        shape: of the input, (B, C, H, W).

    Returns:
        Half of what the counter calls operations, since it counts a multiply-add as two.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module.to("meta").eval()(torch.empty(shape))
    return int(counter.get_total_flops()) // 2


def machine(device: torch.device) -> str:
    """The hardware that numbers belong to, in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{torch.get_num_threads()} threads on {_processor()}, torch {torch.__version__}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return re.sub(r"\s+", " ", found.group(1)) if found else platform.processor() or platform.machine()


def matrix_product_rate(device: torch.device, dtype: torch.dtype, *, side: int = 2048, repeats: int = 5) -> float:
    """Multiply-adds a second of the fastest of several square matrix products: the arithmetic limit."""
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    (seconds,) = best_seconds([lambda: torch.mm(a, b)], device=device, repeats=repeats)
    return side**3 / seconds


def best_seconds(functions: Sequence[Callable[[], object]], *, device: torch.device, repeats: int = 3) -> list[float]:
    """The fastest of several runs of each function, taken in turns so that a busy moment meets all of them.

    Args:
        functions: what to time; each runs once more beforehand, untimed.
        device: to wait for after each run.
        repeats: timed runs of each.

    Returns:
        Seconds, one number for each function.
    """
    best = [float("inf")] * len(functions)
    for turn in range(repeats + 1):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn > 0:
                best[index] = min(best[index], time.perf_counter() - start)
    return best


def forward_and_step(
    factory: ModuleFactory, shape: Shape, *, device: torch.device, dtype: torch.dtype
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Two functions that run a new module once: without gradients, and forward and backward.

    Args:
        factory: makes the module.
        shape: of the input, (B, C, H, W); features get a gradient as in the middle of a network, images (C = 3) none.
        device: to run on.
        dtype: of the computation, by autocast unless single precision.

    Returns:
        The forward pass in evaluation, and the training step.
    """
    torch.manual_seed(0)
    module = factory().to(device)
    for name, parameter in module.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.5)  # at 0, gradients would be zeros, which some kernels skip
    x = torch.randn(shape, device=device, requires_grad=shape[1] != IMAGE_CHANNELS)

    def run() -> torch.Tensor:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            output: torch.Tensor = module(x)
        return output

    def forward() -> None:
        module.eval()
        with torch.no_grad():
            run()

    def step() -> None:
        module.train()
        output = run()
        torch.autograd.backward(output, torch.ones_like(output))
        x.grad = None
        module.zero_grad()

    return forward, step


def peak_memory(
    factory: ModuleFactory, shape: Shape, *, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[float, float]:
    """Peak memory beyond weights and input of a forward pass and of a training step.

    On the CPU it is the peak of the resident memory of a fresh process (Linux).

    Args:
        factory: makes the module; it must be picklable.
        shape: of the input, (B, C, H, W).
        device: to run on.
        dtype: of the computation, see :func:`forward_and_step`.

    Returns:
        MiB of the forward pass and of the training step; nan where the system does not tell.
    """
    if device.type == "cuda":
        return _peaks(factory, shape, device, dtype)
    threads = torch.get_num_threads()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=end_with_parent) as pool:
        pool.submit(torch.set_num_threads, threads).result()
        return pool.submit(_peaks, factory, shape, device, dtype).result()


def _peaks(factory: ModuleFactory, shape: Shape, device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    for small in forward_and_step(factory, (*shape[:2], 64, 64), device=device, dtype=dtype):
        small()  # libraries allocate their own buffers once
    forward, step = (
        peak_growth(function, device) for function in forward_and_step(factory, shape, device=device, dtype=dtype)
    )
    return forward, step


def peak_growth(function: Callable[[], object], device: torch.device) -> float:
    """MiB by which memory grows at most during one call, that of all libraries included.

    Args:
        function: called once.
        device: whose memory it is. On the CPU it is the resident memory of the process.

    Returns:
        The growth; nan on the CPU of other systems than Linux with glibc.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return (torch.cuda.max_memory_allocated(device) - before) / MEBIBYTE
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.is_file() or not hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        return float("nan")
    libc.malloc_trim(0)  # freed memory that the allocator kept would hide what the run takes
    reset.write_text("5")  # the peak starts anew
    before = _kibibytes(status, "VmRSS")
    function()
    return (_kibibytes(status, "VmHWM") - before) / 1024


def _kibibytes(status: Path, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text())
    assert found, f"{status} has no {field}"
    return int(found.group(1))


def usage(
    factory: ModuleFactory,
    shape: Shape,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    repeats: int = 3,
) -> tuple[Usage, Usage]:
    """Time and memory of a forward pass and of a training step; arguments as in :func:`peak_memory`."""
    memory = peak_memory(factory, shape, device=device, dtype=dtype)
    times = best_seconds(forward_and_step(factory, shape, device=device, dtype=dtype), device=device, repeats=repeats)
    forward, step = (Usage(*pair) for pair in zip(times, memory, strict=True))
    return forward, step
