"""Imports point downward only: each room knows the rooms of the lower layers and itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import segattn

PACKAGE = Path(segattn.__file__).parent

LAYERS = [
    {"__init__"},
    {"sample", "record_format", "bins", "objects", "schedule", "sentences", "whole_file", "processes", "plain_yaml"},
    {"configs", "records", "images", "windows", "attention", "overlay", "metrics", "losses"},
    {"data", "encoders", "evaluation", "report"},
    {"heads", "blueprint", "residual"},
    {"model"},
    {"checkpoints"},
    {"runtime", "task"},
    {
        "callbacks",
        "check",
        "compare",
        "failures",
        "provenance",
        "recording",
        "run_folders",
        "predict",
        "explain",
        "export",
    },
    {"training"},
    {"benchmark"},
    {"cli"},
]
LAYER = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def imported_rooms(path):
    """The rooms that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module] if node.module != "segattn" else [f"segattn.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] == "segattn":
                room = name.split(".")[1]
                yield room if room in LAYER else "__init__"


def rooms():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").parts[0], path


def test_every_room_has_its_layer():
    assert {room for room, _ in rooms()} <= set(LAYER)


@pytest.mark.parametrize(
    ("room", "path"), list(rooms()), ids=lambda value: value.name if isinstance(value, Path) else value
)
def test_imports_point_downward(room, path):
    upward = {other for other in imported_rooms(path) if other != room and LAYER[other] >= LAYER[room]}
    assert not upward, f"{path} imports {upward}"


def modules_after(statement):
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "data",
    [
        *(["--data", "ShapesDataModule"], ["--data=segattn.data.ShapesDataModule"]),
        *(["--data.class_path=ShapesDataModule"], ["--data", "segattn.data.ShapesSource"]),
        *("data: ShapesDataModule", "data: {class_path: ShapesDataModule}"),
    ],
)
def test_a_check_of_the_data_waits_for_no_torch(tmp_path, data):
    if isinstance(data, str):
        (tmp_path / "own.yaml").write_text(data)
        data = ["--config", str(tmp_path / "own.yaml")]
    few = ["--data.root", str(tmp_path / "shapes"), "--data.num_train", "2", "--data.num_val", "2"]
    loaded = modules_after(f"import segattn.cli; segattn.cli.main({['check', *data, *few]!r})")
    assert "segattn.check.run" in loaded
    assert not loaded & {"torch", "lightning", "torchmetrics", "albumentations", "scipy", "pandas"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"]])
def test_the_bare_command_loads_nothing_heavy(arguments):
    loaded = modules_after(f"import segattn.cli; segattn.cli.main({arguments!r})")
    assert not loaded & {"torch", "numpy", "lightning", "yaml", "segmentation_models_pytorch", "pandas"}
