"""One sentence for each mistake in a config or command line, instead of the report of the argument parser."""

import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from segattn.io.error_text import did_you_mean
from segattn.io.yaml_files import key_lines

_BASES = ("AttentionBlock", "Head", "Module")
"""The classes that the parser tries where none is named."""

_LONGEST = 400
"""Characters of a message of the parser that has no sentence here."""


def config_error(message: str, arguments: Sequence[str], *, keys: Iterable[str], classes: Iterable[str]) -> str:
    """The sentence for an error of the argument parser, with the file and line of the key and the nearest valid name.

    Args:
        message: message of the parser.
        arguments: arguments of the command line, with ``--config`` before the path of each config.
        keys: all valid keys.
        classes: class names that configs can use without their module.
    """
    keys = list(keys)
    parents = re.findall(r'Parser key "([^"]+)"', message)
    key = ".".join(parents)
    if found := re.search(r"dot import path string: (\S+)", message):
        hint = did_you_mean(found[1], classes, otherwise="use a name from segattn fit --help, or module.Class")
        return f"There is no class {found[1]} for {key}{_place(key, arguments)}{hint}"
    if found := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message):
        hint = did_you_mean(found[2], vars(sys.modules.get(found[1], sys)))
        return f"There is no class {found[2]} in the module {found[1]} for {key}{_place(key, arguments)}{hint}"
    if found := re.search(r"unrecognized arguments: --([^\s=]+)", message):
        return f"There is no option --{found[1]}{_nearest_key(found[1], keys, prefix='--')}"
    if found := re.search(r"(?:(?:Group '([\w.]+)'|Subcommand '\w+') does not accept o|O)ption '([^']+)'", message):
        owner = re.search(r"class_path(?:=| )'([\w.]+)'", message)
        full = ".".join(filter(None, [key, found[1], found[2]]))
        if owner and owner[1].rpartition(".")[2] in _BASES:
            place = _place(full, arguments)
            return f"The option {full}{place} needs a class: name it first, as --{key} NAME or class_path."
        full = full if owner else _first_unknown(full, keys)
        hint = did_you_mean(found[2], _parameters(owner[1])) if owner else _nearest_key(full, keys)
        return f"There is no option {full}{_place(full, arguments)}{hint}"
    if found := re.search(r"arguments are required: (?:\w+\.)?data$", message):
        return "There is no data set: give a config with --config, or a data module with --data."
    return _wrong_value(key, message, arguments) or f"{' '.join(message.split())[:_LONGEST].rstrip('.')}."


def _wrong_value(key: str, message: str, arguments: Sequence[str]) -> str:
    """The sentence for a value of another type; empty if the message is about something else."""
    names = re.findall(r"Expected an? (?:<class '(?:\w+\.)*(\w+)'>|typing.Literal\[(.*?)\])(?=[.\n]|$)", message)
    types = dict.fromkeys(f"one of {values}" if values else name.replace("NoneType", "null") for name, values in names)
    if "Problem with given class_path" in message:
        types.pop("null", None)  # of the key of the class
    value = re.search(r"Got value: (.*)", message) or re.search(r"Given value: (.*)", message)
    if not key or value is None or not types.keys() - {"null"}:
        return ""
    return f"{key}{_place(key, arguments)} must be {' or '.join(types)}, got {value[1].rstrip('.')}."


def _first_unknown(key: str, keys: Iterable[str]) -> str:
    """The key up to its first part that no valid key has."""
    parts = key.split(".")
    starts = (".".join(parts[:count]) for count in range(1, len(parts)))
    return next((start for start in starts if not any(f"{each}.".startswith(f"{start}.") for each in keys)), key)


def _nearest_key(key: str, keys: Iterable[str], *, prefix: str = "") -> str:
    """The end of a sentence that suggests the key with its first unknown part replaced by the nearest valid one."""
    keys = list(keys)
    unknown = _first_unknown(key, keys)
    group, dot, name = unknown.rpartition(".")
    group += dot
    siblings = {each.removeprefix(group).partition(".")[0] for each in keys if each.startswith(group)}
    hint = did_you_mean(name, siblings).replace("did you mean ", f"did you mean {prefix}{group}")
    return hint.replace("?", f"{key.removeprefix(unknown)}?")


def _parameters(class_path: str) -> list[str]:
    """The arguments of a class that is already imported, with those of its parents."""
    module, _, name = class_path.rpartition(".")
    owner = getattr(sys.modules.get(module), name, None)
    parents = inspect.getmro(owner) if inspect.isclass(owner) else filter(None, [owner])
    return [name for each in parents for name in inspect.signature(each).parameters]


def _place(key: str, arguments: Sequence[str]) -> str:
    """The file and line of a key, `` in own.yaml (line 3)``; nothing if it was given on the command line."""
    if any(argument.replace(".init_args", "").startswith(f"--{key}") for argument in arguments):
        return ""
    files = [value for flag, value in pairwise(arguments) if flag == "--config"]
    for file in reversed(files):
        lines = [line for name, line in key_lines(Path(file)).items() if f".{name}".endswith(f".{key}")]
        if lines:
            return f" in {file} (line {lines[0]})"
    return ""
