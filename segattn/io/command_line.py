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

_METAVARS = {Path: "PATH", int: "N", float: "X", str: "NAME"}
_TYPES_IN_WORDS = {int: "an integer", float: "a number", str: "text", Path: "a path"}


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
      string stands for the value in the help. ``Annotated[T, "FILE"]`` changes the help alone.
    - A parameter whose type is a dataclass contributes its fields as options, under the first line of its docstring as
      a heading. Its fields are described there too (``Attributes`` or ``Args``).
    - ``*others`` receives all options with a dot in their names, which belong to another parser.
    - All other types (``int``, ``Path``, ``Literal["all"] | int``, ...) are read by jsonargparse. An option that is not
      given keeps the default of the function or field.

    A wrong option ends in one sentence and exit code 2. Import torch inside the function, so that this takes no time.

    Args:
        function: does the work and returns the exit code. Its type hints must exist at run time.
        arguments: of the command line, after the name of the command.
        prog: name of the command in the help and in errors.
        names: name of an option where it differs from the parameter or field: ``{"class_name": "class"}``.

    Returns:
        The exit code of the function.
    """
    parser = _Parser(prog, description=_documentation(function).description or "", names=names or {})
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(function, include_extras=True)
    takes_others = any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters.values())
    parts = {name: hints[name] for name in parameters if is_dataclass(hints[name])}
    parser.add_parameters(parser, function)
    for part in parts.values():
        title = (_documentation(part).short_description or "").rstrip(".")
        parser.add_parameters(parser.add_argument_group(title), part)
    given, others = _split_dotted(arguments) if takes_others else (arguments, [])
    values = parser.values(given)
    for name, part in parts.items():
        values[name] = part(**{key: values.pop(key) for key in inspect.signature(part).parameters if key in values})
    positional = [values.pop(name) for name, each in parameters.items() if each.kind is Parameter.POSITIONAL_ONLY]
    return function(*positional, *others, **values)


class _Parser(ArgumentParser):
    """A parser whose options come from signatures."""

    def __init__(self, prog: str, *, description: str, names: Mapping[str, str]) -> None:
        super().__init__(prog=prog, description=description, formatter_class=HelpFormatter, allow_abbrev=False)
        self._names = names
        self._hints: dict[str, Any] = {}

    def add_parameters(self, group: Any, component: Callable[..., Any]) -> None:
        """Add the parameters of a function or dataclass to a group of options."""
        helps = {each.arg_name: " ".join((each.description or "").split()) for each in _documentation(component).params}
        hints = get_type_hints(component, include_extras=True)
        for name, parameter in inspect.signature(component).parameters.items():
            if parameter.kind is not Parameter.VAR_POSITIONAL and not is_dataclass(hints[name]):
                self._hints[name] = hints[name]
                self._add(group, parameter, hints[name], helps[name].replace("%", "%%").replace("``", ""))

    def _add(self, group: Any, parameter: Parameter, hint: Any, text: str) -> None:
        default, required = parameter.default, parameter.default is Parameter.empty
        option = f"--{self._names.get(parameter.name, parameter.name.replace('_', '-'))}"
        if hint is bool:
            option = option if not default or parameter.name in self._names else f"--no-{option[2:]}"
            action = "store_false" if default else "store_true"
            group.add_argument(option, dest=parameter.name, action=action, default=None, help=text)
        elif hint == bool | None:
            group.add_argument(option, dest=parameter.name, action=BooleanOptionalAction, default=None, help=text)
        else:
            shown = default is not None and not required and not isinstance(default, list | tuple)
            value = _value(hint) | {"help": f"{text.rstrip('.')} (default: {default})" if shown else text}
            if parameter.kind is Parameter.POSITIONAL_ONLY:
                group.add_argument(parameter.name, **value)
            else:
                value |= {"action": "extend"} if "nargs" in value else {}
                group.add_argument(option, dest=parameter.name, required=required, default=None, **value)

    def values(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Parse a command line: what is given, by the name of the parameter."""
        given = {name: value for name, value in vars(self.parse_args(arguments)).items() if value is not None}
        for name, value in given.items():
            hint = _bare(self._hints[name])
            if get_origin(hint) is tuple:
                length = len(get_args(hint)) if Ellipsis not in get_args(hint) else len(value)
                given[name] = tuple(value) * (length if len(value) == 1 else 1)
                if len(given[name]) != length:
                    self.error(f"--{self._names.get(name, name)} takes one or {length} values, got {len(value)}")
        return given

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one sentence and exit with code 2."""
        option_names = {action.dest: "/".join(action.option_strings) or action.metavar for action in self._actions}
        key, value = re.search(r'Parser key "(\w+)"', message), re.search(r"(?:Got|Given) value: (.*)", message)
        missing = re.search(r"are required: (.*)", message)
        if key and value:
            message = f"{option_names[key[1]]} must be {_in_words(self._hints[key[1]])}, got {value[1]!r}"
        elif missing:
            message = f"missing {', '.join(str(option_names[name]) for name in missing[1].split(', '))}"
        self.exit(2, f"{self.prog}: {' '.join(message.split()).rstrip('.')}. See {self.prog} --help.\n")
        raise AssertionError


def _documentation(component: Callable[..., Any]) -> Docstring:
    return parse_docstring(component.__doc__ or "", DocstringStyle.GOOGLE)


def _without_none(hint: Any) -> Any:
    """``T`` of ``T | None``."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    return Union[tuple(part for part in get_args(hint) if part is not NoneType)]  # noqa: UP007  # known at run time only


def _bare(hint: Any) -> Any:
    """``T`` of ``Annotated[T | None, ...]``."""
    return _without_none(get_args(hint)[0] if get_origin(hint) is Annotated else hint)


def _value(hint: Any) -> dict[str, Any]:
    """How a value of a type is read: the arguments of ``add_argument``."""
    hint = _without_none(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (list, tuple, Sequence):
        return _value(parts[0]) | {"nargs": "+"}
    if origin is Annotated:
        convert = [part for part in parts[1:] if callable(part)]
        read = {"type": _converter(convert[0])} if convert else _value(parts[0])
        return read | {"metavar": next(part for part in parts[1:] if isinstance(part, str))}
    if origin is Literal:
        return {"type": hint}
    words = [str(choice) for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    kinds = [_METAVARS.get(part, "VALUE") for part in parts or [hint] if get_origin(part) is not Literal]
    return {"type": hint, "metavar": "|".join(words + kinds)}


def _converter(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def converted(text: Any) -> Any:
        try:
            return convert(text) if isinstance(text, str) else text  # jsonargparse also calls it with what it returned
        except ValueError as error:
            raise ArgumentTypeError(str(error).rstrip(".")) from error

    return converted


def _in_words(hint: Any) -> str:
    """What a value of a type has to be."""
    hint = _bare(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"{'one of ' if len(parts) > 1 else ''}{', '.join(map(str, parts))}"
    if origin in (list, tuple, Sequence):
        return _in_words(parts[0])
    return " or ".join(_in_words(part) for part in parts) if parts else _TYPES_IN_WORDS.get(hint, hint.__name__)


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
