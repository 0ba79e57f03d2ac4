"""Train the variants of a study with several seeds and compare them by object size.

    python scripts/size_study.py --study scripts/studies/fla_paper.yaml --output runs/fla_paper -- --data.root DIR

A study is a YAML file that gives the options of ``segattn fit`` for each variant; the first variant is the baseline.
Options after ``--`` are added for all variants. The best and the last checkpoint of each run are scored and compared
separately, or one of them with ``--checkpoints``; ``--costs`` measures parameters, multiply-adds and times of the
variants and adds them to the comparison. Repeat the command after an interruption: complete runs are skipped,
interrupted runs are resumed.
"""

import argparse
import multiprocessing
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import yaml

from segattn.cli import main as main_command
from segattn.compare.command import main as compare

CHECKPOINTS = ("best", "last")
COMMANDS = {"val": "validate", "test": "test"}
PROCESSES = multiprocessing.get_context("forkserver")
"""The server imports torch once; a run is a copy of it, which saves some ten seconds per run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and validate the missing runs, then compare all; returns 1 if a run failed."""
    given = _parser().parse_args(arguments)
    variants = {name: shlex.split(options) for name, options in yaml.safe_load(given.study.read_text()).items()}
    names = given.variants or list(variants)
    for library in ("OMP", "MKL"):  # before the server starts
        os.environ.setdefault(f"{library}_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // given.jobs)))
    PROCESSES.set_forkserver_preload(["segattn.training.command"])
    runs = [(name, seed) for seed in given.seeds for name in names]
    with ThreadPoolExecutor(given.jobs) as pool:
        complete = list(pool.map(lambda run: complete_run(*run, options=variants[run[0]], given=given), runs))
    failed = [f"{name}, seed {seed}" for (name, seed), done in zip(runs, complete, strict=True) if not done]
    if failed:
        print(f"failed: {'; '.join(failed)}; see the logs in {given.output / 'logs'}", file=sys.stderr)
        return 1
    shown = ["--no-pictures"]
    if given.costs:
        shown += ["--costs", str(measure_costs({name: variants[name] for name in names}, given))]
    results = []
    for which in given.checkpoints:
        records = [str(record_of(given.output, name, seed, which)) for name in names for seed in given.seeds]
        print(f"comparison of the {which} checkpoints:", flush=True)
        results.append(compare(["compare", *records, "--output", str(given.output / f"comparison_{which}"), *shown]))
    return max(results)


def measure_costs(variants: Mapping[str, Sequence[str]], given: argparse.Namespace) -> Path:
    """Measure the costs of the variants, which take turns, and return the table file."""
    import torch  # after the number of threads has been set

    from segattn.benchmark.config_model import config_model
    from segattn.benchmark.cost_tables import write_measurements

    makes = {(name, "-"): partial(config_model, (*options, *given.options)) for name, options in variants.items()}
    path: Path = given.output / "costs.csv"
    batch, height, width = given.costs
    write_measurements({(batch, 3, height, width): makes}, torch.device("cpu"), torch.float32, output=path)
    return path


def complete_run(name: str, seed: int, *, options: Sequence[str], given: argparse.Namespace) -> bool:
    """Train and validate a run if that is not done yet; returns False if it failed."""
    folder = folder_of(given.output, name, seed)
    missing = [which for which in given.checkpoints if not record_of(given.output, name, seed, which).is_file()]
    if not missing:
        print(f"complete: {folder}")
        return True
    print(f"running: {folder}", flush=True)
    log = given.output / "logs" / f"{name}_seed_{seed}.log"
    shared = [*options, *given.options, "--name", name, "--output", str(folder.parent.parent)]
    checkpoints = folder / "checkpoints"
    if not (checkpoints / "last.ckpt").is_file():
        shutil.rmtree(folder, ignore_errors=True)  # stopped before its first checkpoint: start again
    if len(missing) == len(given.checkpoints):  # the run may be unfinished; a finished one ends at once
        resume = ["--ckpt_path", "last"] if checkpoints.is_dir() else []
        if not segattn(["fit", *shared, "--seed_everything", str(seed), *resume], log):
            return False
    for which in missing:
        if not segattn([COMMANDS[given.split], *shared, "--ckpt_path", str(checkpoints / f"{which}.ckpt")], log):
            return False
        record = record_of(given.output, name, seed, which)
        record.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / f"objects_{given.split}.parquet", record)
    return True


def folder_of(output: Path, name: str, seed: int) -> Path:
    """The folder of a run: one folder of runs per seed."""
    return output / f"seed_{seed}" / name / "version_0"


def record_of(output: Path, name: str, seed: int, which: str) -> Path:
    """The object record of the best or last checkpoint of a run."""
    return output / "records" / which / f"{name}_seed_{seed}.parquet"


def segattn(arguments: Sequence[str], log: Path) -> bool:
    """Run the command in a process of its own and append its output to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    process = PROCESSES.Process(target=_run_command, args=(arguments, log))
    process.start()
    process.join()
    return process.exitcode == 0


def _run_command(arguments: Sequence[str], log: Path) -> None:
    with log.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
        sys.exit(main_command(arguments))


def _shape(text: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not the shape of a batch; write BxHxW such as 2x360x480")
    return int(found[1]), int(found[2]), int(found[3])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, metavar="FILE", help="variants and their options")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="only these variants of the study")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument(
        "--checkpoints", nargs="+", choices=CHECKPOINTS, default=CHECKPOINTS, help="those to compare; default: both"
    )
    parser.add_argument("--split", choices=COMMANDS, default="val", help="the images that are scored; default: val")
    parser.add_argument(
        "--costs", type=_shape, metavar="BxHxW", help="measure the costs of a batch of images, on the CPU"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="number of parallel runs (default: 1)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/size_study"), metavar="DIR", help="folder of all runs"
    )
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="options of segattn fit and validate")
    return parser


if __name__ == "__main__":
    sys.exit(main())
