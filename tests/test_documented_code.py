"""All Python code in README and docs is run, and all configs and class files are read."""

import sys

import pytest
import torch

from segattn.cli import main
from segattn.data.class_file import LabelScheme
from tests.checkpoints.saved import save_checkpoint
from tests.documentation import fenced_blocks, segattn_commands
from tests.documented_files import SCORED, write_documented_files, write_files_of_commands

BLOCKS, CONFIGS = fenced_blocks("python"), fenced_blocks("yaml")

NOT_RUN = {
    "object_size.md 4": "needs mmengine; tests/metrics/test_other_training_loops.py runs it with a stand-in",
    "predict.md 2": "needs Ray; tests/predict/test_ray_recipe.py runs it where Ray is installed",
    "score.md 2": "needs transformers and a checkpoint of it",
    "score.md 3": "needs ultralytics and a checkpoint of it",
}
"""Blocks that are only compiled, and why."""

IMAGES = torch.rand(1, 3, 40, 56)
MAPS = torch.randint(0, 19, (2, 40, 56))
VARIABLES = {
    "checkpoints.md 1": {"image": IMAGES},
    "export.md 1": {"image": IMAGES.numpy()},
    "recipes.md 3": {"model": lambda image: torch.rand(1, 19, 20, 28), "loader": [(IMAGES, MAPS[:1])]},
    "object_size.md 1": {"prediction": MAPS, "target": MAPS.flip(2), "instances": MAPS.flip(1)},
}
"""Variables that a block takes from the code of the reader."""

SMALLER = {
    "2, 3, 333, 500": "2, 3, 33, 50",
    "step(128, 256)": "step(16, 32)",
    "resamples=2000": "resamples=20",
    "blocks:10": "blocks:2",
    "workers=4": "workers=0",
    "workers=2": "workers=0",
}
"""Values that are replaced, so that a block takes little time."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documented")
    write_documented_files(folder)
    write_files_of_commands(folder)
    return folder


def test_blocks_are_found():
    assert len(BLOCKS) > 15
    assert len(CONFIGS) > 8
    assert NOT_RUN.keys() | VARIABLES.keys() <= BLOCKS.keys()


@pytest.mark.parametrize("name", BLOCKS)
def test_block(name, files, monkeypatch):
    monkeypatch.chdir(files)
    text = BLOCKS[name]
    if name == "export.md 1":
        save_checkpoint(files / "best.ckpt", classes=SCORED["camvid_fla"])
        [export] = [words for words in segattn_commands().values() if "onnx" in words]
        assert main(export) == 0
    for value, small in SMALLER.items():
        text = text.replace(value, small)
    code = compile(text, name, "exec")
    if name not in NOT_RUN:
        exec(code, {"__name__": "documented", **VARIABLES.get(name, {})})


@pytest.mark.parametrize("name", CONFIGS)
def test_config_or_class_file(name, files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", list(sys.path))  # --import adds the current folder
    text, path = CONFIGS[name], tmp_path / "file.yaml"
    if "classes:\n" in text:
        path.write_text(text)
        assert LabelScheme.read(path).classes
        return
    path.write_text(text if "base:" in text else f"base: camvid_fla.yaml\n{text}")
    own = ["--import", "trees"] if "trees." in text else []
    with pytest.raises(SystemExit) as stop:
        main(["fit", *own, "--config", str(path), "--print_config"])
    assert stop.value.code == 0, capsys.readouterr().err
