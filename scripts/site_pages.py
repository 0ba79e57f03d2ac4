"""A hook of mkdocs: adds the reference of commands, and one page for each package with public names."""

import contextlib
import inspect
import io
import re
from importlib import import_module
from typing import Any

from mkdocs.structure.files import File, Files

from segattn.cli import COMMANDS, main

PACKAGES: tuple[str, ...] = (
    "attention",
    "heads",
    "models",
    "data",
    "metrics",
    "metrics.functional",
    "objects",
    "inference",
    "predict",
    "score",
    "report",
)
PACKAGES += ("check", "checkpoints", "explain", "export")
"""The packages in the order of the site."""


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation."""
    pages = ["reference/commands.md", *(f"reference/{package}.md" for package in PACKAGES)]
    config.nav = [{"Reference": pages} if entry == {"Reference": "reference/"} else entry for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    files.append(File.generated(config, "reference/commands.md", content=commands_page()))
    for package in PACKAGES:
        files.append(File.generated(config, f"reference/{package}.md", content=package_page(package)))
    return files


def commands_page() -> str:
    """The help of every command."""
    parts = ["# Commands"]
    for command in COMMANDS:
        page = io.StringIO()
        with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
            main([command, "--help"])
        parts.append(f"## {command}\n\n```text\n{page.getvalue().strip().replace(chr(8), '')}\n```")
    return "\n\n".join(parts)


def package_page(package: str) -> str:
    """A page with every name in ``__all__`` of a package, below the description of the module that defines it."""
    module = import_module(f"segattn.{package}")
    sources: dict[str, list[str]] = {module.__name__: []}
    for name in module.__all__:
        source = getattr(getattr(module, name), "__module__", "")
        own = source.startswith("segattn.")  # a type alias says that it is from another package
        sources.setdefault(source if own else module.__name__, []).append(name)
    parts = [f"# {module.__name__}", description(module.__name__)]
    for source, names in sources.items():
        if source != module.__name__:
            text = description(source)
            parts += [f"## {title(text)}", text]
        parts += [f"::: {module.__name__}.{name}" for name in names]
    return "\n\n".join(parts)


def title(text: str) -> str:
    """The start of a description, up to the first colon, semicolon, parenthesis or end of a sentence."""
    first = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"[:;.]( |$)| \(", first)[0]


def description(module: str) -> str:
    """The docstring of a module, with links to guides, and without Sphinx roles, which Markdown does not know."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", inspect.getdoc(import_module(module)) or "")
    return re.sub(r"``docs/(\w+)\.md``", r"[\1](../\1.md)", text)


def on_page_content(html: str, **_: Any) -> str:
    """Do the same in the text of docstrings."""
    return re.sub(r":(class|func|meth|mod|attr|data):(<code>)", r"\2", html)
