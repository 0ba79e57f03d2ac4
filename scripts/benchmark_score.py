"""Measure how long ``segattn score`` takes compared with decoding the same files, and its peak memory.

    python scripts/benchmark_score.py --data ../shared/data

The label files are made from the ADE20K masks of ``--data`` (enlarged or reduced to 512x683, flipped and shifted), or
drawn without them. The masks are degraded copies, half of them smoothed and half of them shifted. Both times use the
same number of processes. The CPU time is that of all processes and depends less on what else the machine does. Memory
is that of all processes together, with shared pages counted once (Linux only); it includes the libraries.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]  # the stubs are a separate package
from benchmark_metrics import Map, degraded, room_masks
from PIL import Image

from segattn.data.label_files import read_labels
from segattn.io.image_listing import list_images
from segattn.score import score_folder

SECONDS_PER_SAMPLE = 0.2


def main() -> None:
    """Print the times, their ratio, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with real masks (default: draw masks)")
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder, room_masks(given.data, 16), given.pairs)
        decoding = best(partial(decode_all, folder, given.workers), given.rounds)
        scoring = best(partial(score_all, folder, given.workers), given.rounds)
        for what, (seconds, cpu) in (("decode all files", decoding), ("score_folder", scoring)):
            print(f"{what:16} {seconds:8.2f} s, CPU time {1000 * cpu / given.pairs:6.2f} ms per pair")
        print(
            f"ratio            {scoring[0] / decoding[0]:8.2f},   CPU time {scoring[1] / decoding[1]:6.2f}", flush=True
        )
        seconds, peak = run_command(folder, given.workers)
        print(f"segattn score    {seconds:8.2f} s with start-up and page, at most {peak / 2**20:.0f} MiB of memory")


def write_pairs(folder: Path, targets: list[Map], count: int) -> None:
    """Write label files and masks with the values of ADE20K: 0 is ignored, 1 to 150 are classes."""
    for name in ("truth", "masks"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        target = targets[index % len(targets)][:: rng.choice((1, -1)), :: rng.choice((1, -1))]
        target = np.roll(target, rng.integers(-40, 40, 2), (0, 1))
        ((prediction, _),) = degraded([target])
        if index % 2:
            prediction = np.roll(np.where(target == 255, 0, target), (5, -8), (0, 1))
        for name, labels in (("truth", np.where(target == 255, 0, target + 1)), ("masks", prediction + 1)):
            Image.fromarray(labels.astype(np.uint8)).save(folder / name / f"{index:05d}.png")


def best(function: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Fewest seconds of several calls, and their fewest seconds of CPU time in all processes."""
    times = np.empty((rounds, 2))
    for index in range(rounds):
        start, used = time.perf_counter(), cpu_time()
        function()
        times[index] = time.perf_counter() - start, cpu_time() - used
    seconds, cpu = times.min(0).tolist()
    return seconds, cpu


def cpu_time() -> float:
    """CPU time of this process and of the processes that it started and that have ended."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


def decode_all(folder: Path, workers: int) -> None:
    """Decode all files as ``segattn score`` does."""
    paths = [path for name in ("truth", "masks") for path in list_images(folder / name)]
    with ProcessPoolExecutor(workers) as pool:
        for _ in pool.map(decode, paths, chunksize=50):
            pass


def decode(path: str) -> None:
    """Decode a file."""
    read_labels(Path(path))


def score_all(folder: Path, workers: int) -> None:
    """Score all files in Python; nothing of an earlier call is used again."""
    score_folder(folder / "truth", folder / "masks", folder / "one.parquet", classes="ade20k", workers=workers)


def run_command(folder: Path, workers: int) -> tuple[float, int]:
    """Seconds that the command takes, and the largest sum of the memory of its processes, in bytes."""
    options = ("--truth", folder / "truth", "--masks", folder / "masks", "--output", folder / "output")
    code = "import sys; from segattn.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["score", *map(str, options), "--classes", "ade20k", "--workers", str(workers)]
    start, peak = time.perf_counter(), 0
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(SECONDS_PER_SAMPLE)
    if process.returncode:
        raise SystemExit("segattn score failed.")
    return time.perf_counter() - start, peak


def memory(pid: int) -> int:
    """Memory of a process and its children in bytes, with shared pages counted once."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:  # has just ended
        pass
    return total


if __name__ == "__main__":
    main()
