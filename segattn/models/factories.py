"""Factories of modules as plain data and back, so that a checkpoint describes its model without pickled code.

A factory is a class or a ``functools.partial`` of a class.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

TRUSTED = ("segattn", "torch.nn")


def plain_factory(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return a factory as a class or a partial of a class, and the factories among its arguments in the same form."""
    if isinstance(factory, type):
        return factory
    if isinstance(factory, partial):
        # jsonargparse builds partials of one of its own functions, with the class among the arguments.
        cls = next((item for item in (factory.func, *factory.args) if isinstance(item, type)), None)
        if cls is not None:
            keywords = factory.keywords.items()
            return partial(
                cls, **{name: plain_factory(value) if callable(value) else value for name, value in keywords}
            )
    raise ValueError(f"A factory must be a class or a functools.partial of a class, got {factory!r}.")


def describe_factory(factory: Callable[..., Any]) -> dict[str, Any]:
    """Describe a plain factory as ``{"class_path": ..., "init_args": {...}}``."""
    cls, keywords = (factory.func, factory.keywords) if isinstance(factory, partial) else (factory, {})
    init_args = {name: describe_factory(value) if callable(value) else value for name, value in keywords.items()}
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": init_args}


def build_factory(description: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """The inverse of :func:`describe_factory`.

    Classes outside segattn and torch.nn are used only if their module is already imported, so loading a checkpoint
    never imports, and thereby runs, code that the checkpoint names.
    """
    module_name, _, name = description["class_path"].rpartition(".")
    trusted = any(module_name == root or module_name.startswith(f"{root}.") for root in TRUSTED)
    if not trusted and module_name not in sys.modules:
        raise ValueError(
            f"The model uses {description['class_path']}, which is not part of segattn: if you trust it, import it "
            f"with --import {module_name}, or before you load the model"
        )
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"This version of segattn has no {description['class_path']}.") from error
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(f"{description['class_path']} is not a torch.nn.Module.")
    init_args = {
        key: build_factory(value) if isinstance(value, Mapping) and "class_path" in value else value
        for key, value in description["init_args"].items()
    }
    return partial(cls, **init_args)
