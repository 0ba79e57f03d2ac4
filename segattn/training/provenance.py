"""Where a run comes from: command, versions, seed and git state beside its config, and how configs differ."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from segattn.io.atomic_write import atomic_write

ENVIRONMENT = "environment.json"
"""The file in a run's folder: a list with one entry for every start, the first and each resumption."""

_PACKAGES = (
    "segattn",
    "torch",
    "torchvision",
    "lightning",
    "segmentation-models-pytorch",
    "timm",
    "numpy",
    "albumentations",
    "opencv-python-headless",
    "torchmetrics",
    "connected-components-3d",
)
_PLACES = ("ckpt_path", "base", "name", "output", "check")
_MISSING = object()


def record_start(folder: Path, arguments: list[str], *, seed: int | None) -> None:
    """Add this start to the run's ``environment.json``.

    Args:
        folder: of the run.
        arguments: of the command line, without the command itself.
        seed: of the run.

    Raises:
        OSError: if it cannot be written.
    """
    path = folder / ENVIRONMENT
    starts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    starts.append(
        {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": ["segattn", *arguments],
            "folder": str(Path.cwd()),
            "seed": seed,
            "git": git_state(Path.cwd()),
            "python": platform.python_version(),
            "packages": {name: found for name in _PACKAGES if (found := _version(name))},
            "system": platform.platform(),
            "threads": torch.get_num_threads(),
            "gpus": devices,
        }
    )
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(starts, indent=1), encoding="utf-8")


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository around a folder, and which tracked files differ from it; None where there is none."""

    def git(*arguments: str) -> str | None:
        try:
            command = ["git", "-C", str(folder), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout

    commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    if commit is None or changed is None:
        return None
    return {"commit": commit.strip(), "changed": [line[3:] for line in changed.splitlines()]}


def config_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which keys of two configs differ, as ``key: before -> now``; those that change no result do not count."""
    one, other = ({key: value for key, value in _flat(side).items() if key not in _PLACES} for side in (before, now))
    return [
        f"{key}: {_shown(one.get(key, _MISSING))} -> {_shown(other.get(key, _MISSING))}"
        for key in [*one, *(key for key in other if key not in one)]
        if one.get(key, _MISSING) != other.get(key, _MISSING)
    ]


def require_same_optimizer(differences: Sequence[str]) -> None:
    """Refuse to go on with the state of another optimizer.

    Args:
        differences: as :func:`config_differences` returns them.

    Raises:
        ValueError: if the class of the optimizer is among them.
    """
    for difference in differences:
        if difference.startswith("model.optimizer.class_path"):
            raise ValueError(
                f"A training goes on with the optimizer that it began with ({difference}): keep it, or start from the "
                f"checkpoint with --model.init_from."
            )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: Any) -> str:
    return "nothing" if value is _MISSING else json.dumps(value, default=str)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
