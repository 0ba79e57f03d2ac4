"""Finding configs: files of the user, or those that come with the package."""

from collections.abc import Sequence
from pathlib import Path

import yaml

_PACKAGED = Path(__file__).parent / "shipped_configs"
_CHECKOUT = Path(__file__).parents[1] / "configs"
SHIPPED = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
"""The folder of the shipped configs: inside an installed wheel, or beside the package in a checkout."""

FLAGS = ("--config", "-c")


def expand_configs(arguments: Sequence[str]) -> list[str]:
    """Replace config names by paths, each preceded by the configs that it builds on (its key ``base``).

    Raises:
        FileNotFoundError: if a name is neither a file nor a shipped config.
        ValueError: if a config is no YAML mapping, or builds on itself.
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
    """The file of a config: as a path of the user, then beside the config that names it, then among the shipped ones.

    Raises:
        FileNotFoundError: if it is nowhere; the message lists the shipped ones.
    """
    folders = [Path(), *([beside] if beside else []), SHIPPED]
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).absolute()
    shipped = ", ".join(sorted(path.name for path in SHIPPED.glob("*.yaml")))
    raise FileNotFoundError(f"There is no config {name} in {Path.cwd()}, and the shipped ones are: {shipped}.")


def with_bases(path: Path, seen: tuple[Path, ...] = ()) -> list[Path]:
    """A config after all that it builds on, the most general one first.

    Raises:
        ValueError: if it is no YAML mapping, or builds on itself.
    """
    if path in seen:
        raise ValueError(f"The config {path} builds on itself: {' -> '.join(str(p) for p in (*seen, path))}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"The config {path} is no valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"The config {path} must be a YAML mapping with keys like model, data and trainer.")
    bases = content.get("base") or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ValueError(
            f"The key base of the config {path} must be the name of a config or a list of names, got {bases}."
        )
    return [found for base in bases for found in with_bases(find_config(base, path.parent), (*seen, path))] + [path]
