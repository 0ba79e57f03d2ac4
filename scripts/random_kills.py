"""Kill ``fit``, ``predict`` and ``score`` at random moments, resume them, and compare with an undisturbed run.

    python scripts/random_kills.py --kills 20 --seed 0

Each time, a run starts in an empty folder, is killed (SIGKILL) at a random moment, and is resumed. The result must be
that of the undisturbed run: the same files byte for byte or, for ``fit``, the same ``metrics.csv`` and the same weights
in both checkpoints; and no temporary file may be left. Prints a line per command; the exit code is 1 if anything
differs. The runs are forks of this process, so that importing libraries takes none of their time.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import torch
import yaml

from segattn.cli import MODULES
from segattn.cli import main as segattn
from segattn.data.scenes import CLASSES
from segattn.data.shapes import Drawing, draw_shapes

FIT = "fit --config quickstart.yaml --data.image_size 64 --data.num_train 16 --data.num_val 4 --data.batch_size 4"
FIT += " --data.crop_size [64,64] --data.num_workers 1 --trainer.max_epochs 6 --seed_everything 1 --name run"


@dataclass(frozen=True)
class Case:
    """A command that writes into the folder ``output``.

    Attributes:
        arguments: of the command.
        resume: options to add after a kill.
        output: the folder.
        results: returns the digest of each result in the folder by name.
    """

    arguments: Sequence[str]
    resume: Sequence[str]
    output: Path
    results: Callable[[Path], dict[str, str]]


def main() -> int:
    """Run all commands; returns 1 if a result differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    given = parser.parse_args()
    moments = random.Random(given.seed)
    for command in ("fit", "predict", "score"):
        import_module(MODULES[command])
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for command, case in cases(folder).items():
            start = time.perf_counter()
            run(case.arguments, folder / "log")
            seconds, expected = time.perf_counter() - start, case.results(case.output)
            if command == "fit":
                shutil.copy(case.output / "run/version_0/checkpoints/last.ckpt", folder)
            if command == "predict":
                shutil.copytree(case.output, folder / "masks")
            restarts, differences = 0, []
            for _ in range(given.kills):
                moment = kill(case, moments, seconds, folder / "log")
                restarts += resume(case, folder / "log")
                differences += [f"killed after {moment:.2f} s: {text}" for text in compare(case, expected)]
            print(
                f"{command}: {given.kills} kills within {seconds:.1f} s, {restarts} of them before there was anything "
                f"to resume, {len(expected)} results compared, {len(differences)} differ",
                *differences,
                sep="\n  ",
                flush=True,
            )
            failed += len(differences)
    return int(failed > 0)


def cases(folder: Path) -> dict[str, Case]:
    """The commands. ``predict`` uses a checkpoint of ``fit``, and ``score`` the masks of ``predict``."""
    shapes, classes = folder / "shapes", folder / "classes.yaml"
    draw_shapes(shapes, Drawing(64, 400, 1))
    table = [{"name": info.name, "label": info.label_id} for info in CLASSES.classes]
    classes.write_text(yaml.safe_dump({"ignore": [255], "classes": table}))
    commands = {
        "fit": f"{FIT} --data.root {folder}/drawn",
        "predict": f"predict --checkpoint {folder}/last.ckpt --images {shapes}/images/train",
        "score": f"score --truth {shapes}/annotations/train --masks {folder}/masks --classes {classes} --workers 1",
    }
    resume = {"fit": ["--ckpt_path", "last"], "predict": ["--resume"], "score": []}
    return {
        name: Case(
            [*words.split(), "--output", str(folder / name)],
            resume[name],
            folder / name,
            run_results if name == "fit" else file_digests,
        )
        for name, words in commands.items()
    }


def file_digests(folder: Path) -> dict[str, str]:
    """All files."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


def run_results(folder: Path) -> dict[str, str]:
    """The metrics and the weights of the only run that has checkpoints."""
    (checkpoints,) = folder.glob("run/version_*/checkpoints")
    results = {"metrics.csv": sha256((checkpoints.parent / "metrics.csv").read_bytes()).hexdigest()}
    for name in ("best.ckpt", "last.ckpt"):
        digest = sha256()
        for key, tensor in torch.load(checkpoints / name, weights_only=True)["state_dict"].items():
            digest.update(key.encode() + tensor.numpy().tobytes())
        results[name] = digest.hexdigest()
    return results


def kill(case: Case, moments: random.Random, seconds: float, log: Path) -> float:
    """Start a command in an empty folder and kill it at a random moment, which is returned, before it ends."""
    while True:
        shutil.rmtree(case.output)
        moment = moments.uniform(0, seconds)
        process = start(case.arguments, log)
        time.sleep(moment)
        os.kill(process, signal.SIGKILL)
        if os.waitpid(process, 0)[1] == signal.SIGKILL:
            case.output.mkdir(exist_ok=True)
            return moment


def resume(case: Case, log: Path) -> bool:
    """Resume a command or, if there is no checkpoint yet, delete its folder and start it again (returns True)."""
    again = case.arguments[0] == "fit" and not any(case.output.rglob("last.ckpt"))
    if again:
        shutil.rmtree(case.output)
    run([*case.arguments, *([] if again else case.resume)], log)
    return again


def compare(case: Case, expected: dict[str, str]) -> list[str]:
    """What differs from the undisturbed run."""
    found = case.results(case.output)
    different = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
    left = [str(path.relative_to(case.output)) for path in case.output.rglob("partial-*")]
    return [*(f"{name} differs" for name in different), *(f"{name} is left" for name in left)]


def run(arguments: Sequence[str], log: Path) -> None:
    """Run a command in another process. Raises RuntimeError with the end of its output if it fails."""
    if os.waitpid(start(arguments, log), 0)[1]:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{log.read_text()[-2000:]}")


def start(arguments: Sequence[str], log: Path) -> int:
    """Start a command in a fork of this process and return its process id."""
    process = os.fork()
    if not process:
        code = 1
        try:
            with log.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                code = segattn(arguments)
                sys.stdout.flush()
        finally:
            os._exit(code)
    return process


if __name__ == "__main__":
    sys.exit(main())
