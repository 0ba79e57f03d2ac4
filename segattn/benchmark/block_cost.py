"""An attention block to measure.

What is measured is a module from one tensor to one tensor, made by a function that another process can call again; the
files of this room are apart so that such a process imports no more than it needs.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

import segattn.attention


def attention_block(name: str, channels: int, options: Mapping[str, Any]) -> nn.Module:
    """A block of :mod:`segattn.attention` by name.

    Raises:
        ValueError: if there is none of that name, or it does not take the options.
    """
    return made(name, segattn.attention, channels, **options)


def use_implementation(module: nn.Module, implementation: str) -> int:
    """Switch all parts that have a fused and a plain implementation; returns how many there are."""
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "implementation")]
    for part in parts:
        part.implementation = implementation
    return len(parts)


def made(name: str, package: Any, *arguments: Any, **options: Any) -> nn.Module:
    """A module of one of the project's packages by name; see :func:`attention_block`."""
    if name not in package.__all__:
        raise ValueError(f"{package.__name__} has no {name}; it has: {', '.join(package.__all__)}.")
    try:
        module: nn.Module = getattr(package, name)(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"{name} cannot be made: {error}.") from error
    return module
