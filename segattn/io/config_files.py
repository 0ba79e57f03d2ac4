"""Finding configs: files of the user, or those that come with the package."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from segattn.io.yaml_files import read_yaml

_PACKAGED = Path(__file__).parents[1] / "shipped_configs"
_CHECKOUT = Path(__file__).parents[2] / "configs"
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
        content = read_yaml(path)
    except ValueError as error:
        raise ValueError(f"The config {path} is no valid YAML: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"The config {path} must be a YAML mapping with keys like model, data and trainer.")
    for key in ("model", "trainer", "checkpoint"):
        if not isinstance(content.get(key, {}), dict):
            raise ValueError(f"The key {key} of the config {path} must be a mapping, got {content[key]!r}.")
    bases = content.get("base") or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ValueError(
            f"The key base of the config {path} must be the name of a config or a list of names, got {bases}."
        )
    return [found for base in bases for found in with_bases(find_config(base, path.parent), (*seen, path))] + [path]


def require_sound(config: Any) -> None:
    """Refuse what the argument parser lets pass in the parsed config of a run.

    Args:
        config: of one subcommand.

    Raises:
        ValueError: naming the first key that is wrong.
    """
    for key in ("model.encoder", "model.schedule"):
        if not isinstance(config[key], Namespace):
            raise ValueError(f"{key} must be a mapping, got {config[key]!r}.")
    for key in ("model.head", "model.optimizer"):
        if config[key] is None:
            raise ValueError(f"{key} must name a class, got null.")
    for key in ("name", "output"):
        if not config[key]:
            raise ValueError(f"{key} must be the name of a folder, got {config[key]!r}.")
    if Path(config.name).is_absolute() or ".." in Path(config.name).parts:
        raise ValueError(f"name must be a folder below output, got {config.name!r}.")
    for key in ("accumulate_grad_batches", "val_check_interval", "check_val_every_n_epoch"):
        value = config.trainer[key]
        if (value is None and key == "accumulate_grad_batches") or (isinstance(value, int | float) and value <= 0):
            raise ValueError(f"trainer.{key} must be positive, got {value}.")


def data_seed(seed: bool | int | None) -> int:
    """The seed of the data: that of the run, or 0 where nothing else is seeded."""
    return int(seed or 0)
