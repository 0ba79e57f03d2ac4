"""Cost of a module: parameters, multiply-adds, time and peak memory of a forward pass and a training step."""

import ctypes
import multiprocessing
import platform
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

ModuleFactory = Callable[[], nn.Module]
Shape = tuple[int, int, int, int]

MEBIBYTE = 2**20
IMAGE_CHANNELS = 3


def count_parameters(module: nn.Module) -> int:
    """Count the trainable values."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_multiply_adds(module: nn.Module, shape: Shape) -> int:
    """Count the multiply-adds of products and convolutions in one forward pass; moves the module to the meta device."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module.to("meta").eval()(torch.empty(shape))
    return int(counter.get_total_flops()) // 2  # torch counts a multiply-add as two operations


def machine(device: torch.device) -> str:
    """Describe the hardware."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    processor = " ".join(found.group(1).split()) if found else platform.processor() or platform.machine()
    count = torch.get_num_threads()
    return f"{count} thread{'s' if count > 1 else ''} on {processor}, torch {torch.__version__}"


def seconds_in_turns(
    functions: Sequence[Callable[[], object]], *, device: torch.device, repeats: int
) -> list[list[float]]:
    """Time several runs of each function, after an untimed one, in seconds.

    The functions take turns, so that other load affects all of them alike.
    """
    seconds: list[list[float]] = [[] for _ in functions]
    for turn in range(repeats + 1):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn > 0:
                seconds[index].append(time.perf_counter() - start)
    return seconds


def best_seconds(functions: Sequence[Callable[[], object]], *, device: torch.device, repeats: int = 3) -> list[float]:
    """The fastest of several runs of each function, as timed by :func:`seconds_in_turns`."""
    return [min(times) for times in seconds_in_turns(functions, device=device, repeats=repeats)]


def forward_and_step(
    factory: ModuleFactory, shape: Shape, *, device: torch.device, dtype: torch.dtype
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Build a module and return two functions that run it: forward without gradients, and forward with backward.

    Features get a gradient as inside a network; images (C = 3) do not. Autocast is used unless ``dtype`` is float32.
    """
    torch.manual_seed(0)
    module = factory().to(device)
    for name, parameter in module.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.5)  # at 0 the gradients are zero, and some kernels skip zeros
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
    """Measure the peak memory of a forward pass and of a training step, in addition to weights and input.

    On the CPU it is the peak resident memory of a new process (Linux only), so the factory must be picklable.

    Returns:
        MiB of the forward pass and of the training step, including all gradients; nan where it cannot be measured.
    """
    if device.type == "cuda":
        return _peaks(factory, shape, device, dtype)
    new, threads = multiprocessing.get_context("spawn"), torch.get_num_threads()
    with ProcessPoolExecutor(1, mp_context=new, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        return pool.submit(_peaks, factory, shape, device, dtype).result()


def _peaks(factory: ModuleFactory, shape: Shape, device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    for small in forward_and_step(factory, (*shape[:2], 64, 64), device=device, dtype=dtype):
        small()  # libraries allocate their buffers on the first call
    forward, step = forward_and_step(factory, shape, device=device, dtype=dtype)
    return peak_growth(forward, device), peak_growth(step, device)


def peak_growth(function: Callable[[], object], device: torch.device) -> float:
    """Measure the peak growth of memory during one call in MiB, including the memory of all libraries.

    On the CPU it is that of the process's resident memory, or nan on systems other than Linux with glibc.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        return (torch.cuda.max_memory_allocated(device) - before) / MEBIBYTE
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.is_file() or not hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        return float("nan")
    libc.malloc_trim(0)  # memory that was freed but kept by the allocator would hide the growth
    reset.write_text("5")  # reset the peak
    before = _kibibytes(status, "VmRSS")
    function()
    return (_kibibytes(status, "VmHWM") - before) / 1024


def _kibibytes(status: Path, field: str) -> int:
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields[field].removesuffix("kB"))
