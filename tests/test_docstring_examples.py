"""Runs the examples in the docstrings of all public classes and functions."""

import doctest
import inspect
from importlib import import_module

import pytest
from site_pages import PACKAGES

from tests.documented_files import write_documented_files

NAMES = {
    f"{package}.{name}": value
    for package in PACKAGES
    for module in [import_module(f"segattn.{package}")]
    for name in module.__all__
    if inspect.isroutine(value := getattr(module, name)) or inspect.isclass(value)
}
"""All public names apart from constants and type aliases, which have no docstring."""

NOT_RUN = {"checkpoints.import_checkpoint": "needs a checkpoint of another repository, which is not shipped"}
"""Examples with steps that are not run, and why."""

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented")
    write_documented_files(folder)
    return folder


def examples(name):
    text = inspect.getdoc(NAMES[name]) or ""
    return doctest.DocTestParser().get_doctest(text, {}, f"segattn.{name}", None, 0)


def test_every_public_name_has_an_example_that_is_run():
    assert len(NAMES) > 140
    for name in NAMES:
        found = examples(name).examples
        assert found, f"{name} has no example"
        skipped = any(example.options.get(doctest.SKIP) for example in found)
        assert skipped == (name in NOT_RUN), f"{name} has steps that are not run"


@pytest.mark.parametrize("name", NAMES)
def test_example(name, files, monkeypatch):
    monkeypatch.chdir(files)
    problems = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(examples(name), out=problems.append)
    assert not problems, "".join(problems)
