"""Imports point downward only: each package may import the packages above it in CONTRIBUTING's map, and itself."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import segattn

PACKAGE = Path(segattn.__file__).parent
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path):
    return ".".join(("segattn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_name(path) for path in FILES}


def package_of(module):
    """The package directly below segattn, or the loose module."""
    return module.split(".")[1] if "." in module else "__init__"


def imported_modules(path):
    """The modules of segattn that a file imports when it is executed, types for the checker left out."""
    pending = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


IMPORTS = {
    module_name(path): {name for name in imported_modules(path) if name.split(".")[0] == "segattn"} for path in FILES
}


def documented_order():
    """The packages and loose modules in the order of CONTRIBUTING's map."""
    text = CONTRIBUTING.read_text(encoding="utf-8").partition("## Where things are")[2].partition("\n## ")[0]
    return [name.removesuffix("/").removesuffix(".py") for name in re.findall(r"^    ([a-z_]+(?:/|\.py))", text, re.M)]


def test_the_map_in_contributing_names_every_package():
    existing = {package_of(module) for module in MODULES} - {"__init__"}
    assert sorted(documented_order()) == sorted(existing)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_downward(module):
    order = ["__init__", *documented_order()]
    own = package_of(module)
    upward = {name for name in IMPORTS[module] if order.index(package_of(name)) > order.index(own)}
    assert not upward, f"{module} imports {upward}, which come later in the map of CONTRIBUTING.md"


def test_no_circular_imports_between_modules():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1][::-1]))


def test_module_basenames_are_unique():
    names = sorted(path.stem for path in FILES if path.stem not in ("__init__", "command"))
    assert not [name for name, other in pairwise(names) if name == other]


def modules_after(statement):
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_data_sets_need_no_torch():
    loaded = modules_after("import segattn.data; segattn.data.CamVid")
    assert not loaded & {"torch", "lightning", "torchmetrics", "albumentations", "scipy", "pandas"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"]])
def test_the_bare_command_loads_nothing_heavy(arguments):
    loaded = modules_after(f"import segattn.cli; segattn.cli.main({arguments!r})")
    assert not loaded & {"torch", "numpy", "lightning", "yaml", "segmentation_models_pytorch", "pandas"}
