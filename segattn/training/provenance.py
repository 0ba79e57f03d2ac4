"""Records how a run was started, and compares its config with that of its resumption."""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from segattn.io.atomic_write import atomic_write

ENVIRONMENT = "environment.json"
"""The file in the folder of a run: a list with one entry per start, including resumptions."""

_PACKAGES = (
    *("segattn", "torch", "torchvision", "lightning", "segmentation-models-pytorch", "timm", "numpy", "albumentations"),
    *("opencv-python-headless", "torchmetrics", "connected-components-3d"),
)
_LOCATIONS = ("ckpt_path", "base", "name", "output", "check")


def record_start(folder: Path, arguments: list[str], *, seed: int | None) -> None:
    """Add an entry for this start to the ``environment.json`` of a run; ``arguments`` are those of ``segattn``."""
    path = folder / ENVIRONMENT
    starts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
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
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        }
    )
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(starts, indent=1), encoding="utf-8")


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and changed tracked files of the repository that contains a folder; None if there is no repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout

    try:
        commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "changed": [line[3:] for line in changed.splitlines()]}


def config_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys that differ between two configs as ``key: before -> now``, except those that do not affect results."""
    one, other = _flat(before), _flat(now)
    changed = [key for key in {**one, **other} if key not in _LOCATIONS and one.get(key) != other.get(key)]
    return [f"{key}: {one.get(key, 'nothing')} -> {other.get(key, 'nothing')}" for key in changed]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The values of a nested config as JSON, by dotted keys."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        nested = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": json.dumps(value, default=str)}
    return flat


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
