"""Finds configs and the configs that they extend, among the files of the user and those of the package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import set_loader

from segattn.io.error_text import did_you_mean
from segattn.io.yaml_files import parse_yaml, read_yaml

set_loader("yaml", parse_yaml, (ValueError,))  # so that the parsers of all commands read values in the same way

_PACKAGED = Path(__file__).parents[1] / "shipped_configs"
_CHECKOUT = Path(__file__).parents[2] / "configs"
SHIPPED = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
"""The folder of the shipped configs: in an installed wheel, or next to the package in a checkout."""

FLAGS = ("--config", "-c")


def expand_configs(arguments: Sequence[str]) -> list[str]:
    """Replace the names of configs by paths, each preceded by the configs that it extends (its key ``base``).

    Raises:
        FileNotFoundError: if a name is neither a file nor a shipped config.
        ValueError: if a config is not a YAML mapping, or extends itself.
    """
    expanded: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        flag, equals, value = argument.partition("=")
        if flag in FLAGS and not equals and position + 1 < len(arguments):
            position += 1
            value = arguments[position]
        if flag in FLAGS and value:
            for path in with_bases(find_config(value)):
                expanded += ["--config", str(path)]
        else:
            expanded.append(argument)
        position += 1
    return expanded


def find_config(name: str, beside: Path | None = None) -> Path:
    """The file of a config: in the current folder, next to the config that extends it, or among the shipped ones."""
    folders = [Path(), *([beside] if beside else []), SHIPPED]
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).absolute()
    shipped = sorted(path.name for path in SHIPPED.glob("*.yaml"))
    hint = did_you_mean(name, shipped, otherwise=f"the shipped configs are {', '.join(shipped)}")
    raise FileNotFoundError(f"There is no config {name} in {Path.cwd()}{hint}")


def with_bases(path: Path, seen: tuple[Path, ...] = ()) -> list[Path]:
    """A config preceded by the configs that it extends, the most general one first."""
    if path in seen:
        raise ValueError(f"The config {path} extends itself: {' -> '.join(str(p) for p in (*seen, path))}.")
    bases = read_config(path).get("base") or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ValueError(f"The key base of the config {path} must be the name of a config or a list, got {bases}.")
    return [found for base in bases for found in with_bases(find_config(base, path.parent), (*seen, path))] + [path]


def read_config(path: Path) -> dict[str, Any]:
    """The content of a config."""
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise ValueError(f"The config {path} is not valid YAML: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"The config {path} must be a YAML mapping with keys like model, data and trainer.")
    return content
