"""Train the variants of the FLA paper with several seeds and compare them by object size.

Song et al.: Fully Attentional Network for Semantic Segmentation. AAAI 2022, arXiv 2112.04108, table 3: no attention,
channel attention, position attention, both in parallel, channel then position, fully attentional.

    python scripts/size_study.py --prefix camvid --seeds 0 1 2 --output runs/size_study -- --data.root DIR

Options after ``--`` are passed to ``segattn fit`` and ``segattn validate``. Repeat the command after an interruption:
complete runs are skipped, interrupted runs are resumed.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from segattn.compare.command import main as compare

VARIANTS = ("fcn", "channel", "position", "dual", "channel_position", "fla")
RECORD = "objects_val.parquet"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and validate the missing runs, then compare all; returns 1 if a run failed."""
    given = _parser().parse_args(arguments)
    names = [f"{given.prefix}_{variant}" for variant in given.variants]
    runs = [(name, seed) for seed in given.seeds for name in names]
    with ThreadPoolExecutor(given.jobs) as pool:
        complete = list(pool.map(lambda run: complete_run(*run, given=given), runs))
    failed = [f"{name}, seed {seed}" for (name, seed), done in zip(runs, complete, strict=True) if not done]
    if failed:
        print(f"failed: {'; '.join(failed)}; see the logs in {given.output / 'logs'}", file=sys.stderr)
        return 1
    folders = [str(folder_of(given.output, *run).parent) for run in sorted(runs, key=lambda run: names.index(run[0]))]
    return compare(["compare", *folders, "--output", str(given.output / "comparison")])


def complete_run(name: str, seed: int, *, given: argparse.Namespace) -> bool:
    """Train and validate a run if that is not done yet; returns False if it failed."""
    folder = folder_of(given.output, name, seed)
    if (folder / RECORD).is_file():
        print(f"complete: {folder}")
        return True
    best, last = (folder / "checkpoints" / f"{which}.ckpt" for which in ("best", "last"))
    shared = ["--config", f"{name}.yaml", "--output", str(folder.parent.parent), *given.options]
    if not last.is_file():
        shutil.rmtree(folder, ignore_errors=True)  # stopped before its first checkpoint: start again
    resume = ["--ckpt_path", "last"] if last.is_file() else []
    print(f"running: {folder}", flush=True)
    log = given.output / "logs" / f"{name}_seed_{seed}.log"
    fit = ["fit", *shared, "--seed_everything", str(seed), *resume]
    return segattn(fit, log, given.jobs) and segattn(["validate", *shared, "--ckpt_path", str(best)], log, given.jobs)


def folder_of(output: Path, name: str, seed: int) -> Path:
    """The folder of a run: one folder of runs per seed."""
    return output / f"seed_{seed}" / name / "version_0"


def segattn(arguments: Sequence[str], log: Path, jobs: int) -> bool:
    """Run the command on its share of the cores and append its output to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-c", "import sys; from segattn.cli import main; sys.exit(main())", *arguments]
    with log.open("a") as file:
        return subprocess.run(command, stdout=file, stderr=file, env=environment, check=False).returncode == 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", default="camvid", help="of the configs PREFIX_VARIANT.yaml (default: camvid)")
    parser.add_argument(
        "--variants", nargs="+", default=VARIANTS, metavar="NAME", help=f"default: {' '.join(VARIANTS)}"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="number of parallel runs (default: 1)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/size_study"), metavar="DIR", help="folder of all runs"
    )
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="options of segattn fit and validate")
    return parser


if __name__ == "__main__":
    sys.exit(main())
