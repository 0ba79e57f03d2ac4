"""A module's factory as plain data, and back: how a model is written into a checkpoint.

A factory is a class or a ``functools.partial`` of one, as Python users write it and as the command builds it from
``class_path`` and ``init_args``. Plain data means that a checkpoint holds nothing that would have to be executed.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

TRUSTED = ("segattn", "torch.nn")


def describe(factory: Callable[..., nn.Module]) -> dict[str, Any]:
    """Write a factory as ``{"class_path": ..., "init_args": {...}}``.

    Raises:
        ValueError: if it is neither a class nor a partial of one.
    """
    function, keywords = (factory.func, factory.keywords) if isinstance(factory, partial) else (factory, {})
    arguments = factory.args if isinstance(factory, partial) else ()
    # The command's partials call a function of the argument parser, with the class among its arguments.
    cls = next((item for item in (function, *arguments) if isinstance(item, type)), None)
    if cls is None:
        raise ValueError(f"A factory must be a class or a functools.partial of a class, got {factory!r}.")
    init_args = {name: describe(value) if callable(value) else value for name, value in keywords.items()}
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": init_args}


def build(description: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """The inverse of :func:`describe`.

    Modules of other packages than segattn and torch.nn are used only where they are imported already, so that loading
    a checkpoint never makes Python import, and thereby run, what the checkpoint names.

    Raises:
        ValueError: if the class is not to be found or not trusted.
    """
    module_name, _, name = description["class_path"].rpartition(".")
    trusted = any(module_name == root or module_name.startswith(f"{root}.") for root in TRUSTED)
    if not trusted and module_name not in sys.modules:
        raise ValueError(
            f"The model uses {description['class_path']}, which is not part of segattn: import {module_name} first, "
            f"if you trust it."
        )
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"This version of segattn has no {description['class_path']}.") from error
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(f"{description['class_path']} is no torch module.")
    init_args = {
        key: build(value) if isinstance(value, Mapping) and "class_path" in value else value
        for key, value in description["init_args"].items()
    }
    return partial(cls, **init_args)
