"""Commands made of functions: the signature gives the options, the docstring their help. No torch."""

import inspect
import re
from argparse import ArgumentTypeError, BooleanOptionalAction, HelpFormatter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from inspect import Parameter
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from docstring_parser import Docstring, DocstringStyle
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser

from segattn.io.error_text import did_you_mean
from segattn.io.printable import printable

_METAVARS = {Path: "PATH", int: "N", float: "X", str: "NAME"}


def run_command(
    function: Callable[..., int], arguments: Sequence[str], *, prog: str, names: Mapping[str, str] | None = None
) -> int:
    """Call a function with the arguments of a command line.

    Example::

        def compare(runs: list[Path], /, output: Path, split: Literal["val", "test"] = "val", pictures: bool = True):
            ...  # with a docstring that describes the command and, under Args, each parameter

        def main(arguments):
            return run_command(compare, arguments[1:], prog="segattn compare")

    makes ``segattn compare PATH [PATH ...] --output PATH [--split {val,test}] [--no-pictures]``:

    - Parameters before ``/`` are positional arguments; all others are options, with dashes for underscores.
    - A ``bool`` is a flag without a value: ``--flip``, or ``--no-flip`` if its default is True (describe what the flag
      does). A ``bool | None`` has both flags.
    - A ``list[T]``, ``Sequence[T]`` or ``tuple[T, ...]`` takes one or more values and can repeat. A ``tuple[T, T]``
      takes two values, or one for both.
    - ``Annotated[T, convert, "X,Y"]`` is one value that ``convert(text)`` reads; its ValueError is the message. The
      string stands for the value in the help. ``Annotated[T, "FILE"]`` changes only the help.
    - A parameter whose type is a dataclass contributes its fields as options, in a group of their own in the help.
    - ``*others`` receives all options with a dot in their names, which belong to another parser.

    A wrong option ends in one sentence and exit code 2. Import torch inside the function, so that this takes no time.

    Args:
        function: does the work and returns the exit code. Its type hints must exist at run time.
        arguments: arguments of the command line, after the name of the command.
        prog: name of the command in the help and in errors.
        names: name of an option where it differs from the parameter or field: ``{"class_name": "class"}``.

    Returns:
        The exit code of the function.
    """
    parser = _Parser(prog, description=_docstring(function).description or "", names=names or {})
    hints, parameters = get_type_hints(function), inspect.signature(function).parameters
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parser.add_options(parser, function)
    for group in groups.values():
        title = (_docstring(group).short_description or "").rstrip(".")
        parser.add_options(parser.add_argument_group(title), group)
    takes_others = any(each.kind is Parameter.VAR_POSITIONAL for each in parameters.values())
    own, others = _split_dotted(arguments) if takes_others else (arguments, [])
    given = parser.parse_args(own).as_dict()
    values = parser.values(given, function)
    values |= {name: group(**parser.values(given, group)) for name, group in groups.items()}
    positional = [values.pop(name) for name, each in parameters.items() if each.kind is Parameter.POSITIONAL_ONLY]
    return function(*positional, *others, **values)


class _Parser(ArgumentParser):
    """A parser whose options come from signatures. Options that are not given are None."""

    def __init__(self, prog: str, *, description: str, names: Mapping[str, str]) -> None:
        super().__init__(prog=prog, description=description, formatter_class=HelpFormatter, allow_abbrev=False)
        self._names = names

    def add_options(self, group: Any, component: Callable[..., Any]) -> None:
        """Add the parameters of a function or dataclass to a group of options."""
        helps = {each.arg_name: " ".join((each.description or "").split()) for each in _docstring(component).params}
        helps = {name: text.rstrip(".").replace("%", "%%").replace("``", "") for name, text in helps.items()}
        hints = get_type_hints(component, include_extras=True)
        for name, parameter in inspect.signature(component).parameters.items():
            if parameter.kind is not Parameter.VAR_POSITIONAL and not is_dataclass(hints[name]):
                self._add(group, parameter, _without_none(hints[name]), helps[name])

    def _add(self, group: Any, parameter: Parameter, hint: Any, text: str) -> None:
        default, required = parameter.default, parameter.default is Parameter.empty
        name = self._names.get(parameter.name, parameter.name)
        option: dict[str, Any] = {"help": text, "default": None}
        flag = f"--{name.replace('_', '-')}"
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            group.add_argument(name, help=text, **_reading(hint))
        elif hint is bool and default is None:
            group.add_argument(flag, dest=name, action=BooleanOptionalAction, **option)
        elif hint is bool:
            flag = f"--no-{flag[2:]}" if default and parameter.name not in self._names else flag
            group.add_argument(flag, dest=name, action="store_false" if default else "store_true", **option)
        else:
            if default not in (None, ()) and not required:
                option["help"] = f"{text} (default: {default})"
            group.add_argument(flag, dest=name, required=required, **option, **_reading(hint))

    def values(self, given: Mapping[str, Any], component: Callable[..., Any]) -> dict[str, Any]:
        """The given options of a function or dataclass, by parameter."""
        hints = get_type_hints(component)
        found = {name: given.get(self._names.get(name, name)) for name in inspect.signature(component).parameters}
        found = {name: value for name, value in found.items() if value is not None}
        for name, value in found.items():
            hint = _without_none(hints[name])
            if get_origin(hint) is tuple and isinstance(value, list):
                length = len(value) if Ellipsis in get_args(hint) else len(get_args(hint))
                if len(value) not in (1, length):
                    self.error(f"argument --{name}: expected one or {length} values, got {len(value)}")
                found[name] = tuple(value) * (length if len(value) == 1 else 1)
        return found

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one sentence and exit with code 2."""
        text = printable(" ".join(message.split()).rstrip("."))
        unknown = re.match(r"unrecognized arguments: (-\S+)", text)
        options = [option for action in self._actions for option in action.option_strings]
        hint = did_you_mean(unknown[1].partition("=")[0], options) if unknown else "."
        self.exit(2, f"{self.prog}: {text}{hint} See {self.prog} --help.\n")
        raise AssertionError


def _docstring(component: Callable[..., Any]) -> Docstring:
    return parse_docstring(component.__doc__ or "", DocstringStyle.GOOGLE)


def _without_none(hint: Any) -> Any:
    """``T`` of ``T | None``."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    return Union[tuple(part for part in get_args(hint) if part is not NoneType)]  # noqa: UP007  # known at run time only


def _reading(hint: Any) -> dict[str, Any]:
    """The arguments of ``add_argument`` for reading a value of a type."""
    hint = _without_none(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (list, tuple, Sequence):
        return {**_reading(parts[0]), "nargs": "+", "action": "extend"}
    if origin is Annotated:
        *convert, metavar = parts[1:]
        return {**({"type": _reader(convert[0])} if convert else _reading(parts[0])), "metavar": metavar}
    if origin is Literal:
        return {"type": _reader(type(parts[0])), "choices": parts}
    return {"type": _reader(hint), "metavar": _METAVARS[hint]}


def _reader(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """A function that reads a value and raises what a user should read."""

    def read(text: Any) -> Any:
        try:
            return convert(text) if isinstance(text, str) else text  # jsonargparse also calls it with what it returned
        except ValueError as error:
            is_type = isinstance(convert, type)
            raise ArgumentTypeError(f"invalid {convert.__name__}: {text!r}" if is_type else str(error)) from error

    return read


def _split_dotted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into other options, and options like ``--model.head FCNHead`` with their values."""
    own: list[str] = []
    dotted: list[str] = []
    target = own
    for argument in arguments:
        if argument.startswith("--"):
            target = dotted if "." in argument.partition("=")[0] else own
        target.append(argument)
    return own, dotted
