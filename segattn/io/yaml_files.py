"""YAML files as plain data that can be gone through in a moment."""

from pathlib import Path
from typing import Any

import yaml

MOST_VALUES = 100_000
"""Values that a file may hold, those that it repeats by anchors counted each time."""


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Nothing in it is executed.

    Args:
        path: the file.

    Raises:
        ValueError: without the name of the file, if it is no valid YAML, contains itself, or repeats itself so often
            that going through it would take for ever.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        count = _count(content, {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(" ".join(str(error).split()).rstrip(".")) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply, or contains itself") from error
    if count > MOST_VALUES:
        raise ValueError(f"it holds {count:,} values by repeating its anchors; {MOST_VALUES:,} are allowed")
    return content


def _count(value: Any, known: dict[int, int]) -> int:
    """How many values there are in one, repetitions counted each time but gone through once."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(value)]
