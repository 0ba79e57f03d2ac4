"""Reading YAML files as plain data."""

import re
from pathlib import Path
from typing import Any

import yaml

from segattn.io.error_text import one_line

_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
"""The plain scalars that are not text, with their first characters: the core schema of YAML 1.2, and merge keys."""


class _Loader(yaml.SafeLoader):
    """Reads plain scalars as YAML 1.2 does: ``no``, ``on``, ``1_000`` and dates are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # filled below

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """``010`` is ten, not eight as in YAML 1.1."""
        text = self.construct_scalar(node)
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)


for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


def read_yaml(path: Path) -> Any:
    """Read a YAML file. Nothing in it is executed.

    Raises:
        ValueError: without the name of the file, if it is not valid YAML or a mapping has a key twice.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text: {one_line(error)}") from error


def parse_yaml(text: str) -> Any:
    """Parse YAML text; errors as in :func:`read_yaml`."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _require_unique_keys(root, set())
        return loader.construct_document(root)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        where = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise ValueError(f"{(error.problem or str(error)).removeprefix('but ')}{where}") from error
    except yaml.YAMLError as error:
        raise ValueError(one_line(error)) from error
    except (KeyError, AttributeError) as error:  # raised by constructors
        raise ValueError("a value does not match its tag, such as !!bool") from error


def key_lines(path: Path) -> dict[str, int]:
    """The line of each key of a valid YAML file, by its dotted path without ``class_path`` and ``init_args``."""
    lines: dict[str, int] = {}
    seen: set[int] = set()

    def add(node: yaml.Node | None, above: str) -> None:
        if isinstance(node, yaml.MappingNode) and id(node) not in seen:  # aliases share a node
            seen.add(id(node))
            for key, value in node.value:
                is_own = str(key.value) not in ("class_path", "init_args")
                name = f"{above}.{key.value}".lstrip(".") if is_own else above
                if is_own or key.value == "class_path":
                    lines[name] = key.start_mark.line + 1
                add(value, name)

    add(yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader), "")
    return lines


def _require_unique_keys(node: yaml.Node, seen: set[int]) -> None:
    """Raise a ValueError if a mapping has a key twice, of which YAML would silently use the last."""
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):  # aliases share a node
        return
    seen.add(id(node))
    lines: dict[tuple[str, str], int] = {}
    for item in node.value:
        key, value = item if isinstance(node, yaml.MappingNode) else (None, item)
        if isinstance(key, yaml.ScalarNode):
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise ValueError(f"the key {key.value} is given twice (lines {lines[name]} and {line})")
            lines[name] = line
        _require_unique_keys(value, seen)
