"""Models with a block of the user's own: commands load them after ``--import``, and only then."""

import sys

import pytest

from segattn import cli
from tests.training.tiny_run import write_config

BLOCK = """
import torch

class Scale(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return x * self.weight
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module in the current folder; it is not imported in other tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = "blocks_of_a_user"
    (tmp_path / f"{name}.py").write_text(BLOCK)
    write_config(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_every_command_loads_a_model_with_an_imported_block(module, capfd):
    own = ["--import", module]
    fit = ["fit", "--config", "tiny.yaml", "--trainer.max_epochs", "1", "--model.attention", f"{module}.Scale"]
    assert cli.main([*fit, *own]) == 0
    image = "data/images/val/0001TP_000000.jpg"
    commands = (
        ["validate", "--config", "tiny.yaml", "--ckpt_path", "runs/tiny"],
        ["predict", "--checkpoint", "runs/tiny", "--images", "data/images/val", "--output", "masks"],
        ["explain", "--checkpoint", "runs/tiny", "--image", image, "--point", "3,4", "--output", "explained"],
        ["export", "--checkpoint", "runs/tiny", "--format", "slim", "--output", "slim.safetensors"],
    )
    for command in commands:
        sys.modules.pop(module, None)
        capfd.readouterr()
        assert cli.main(command) == 1, command
        assert f"if you trust it, import it with --import {module}" in capfd.readouterr().err
        assert cli.main([command[0], f"--import={module}", *command[1:]]) == 0, command


@pytest.mark.parametrize("name", ["no_such_module", ""])
def test_a_module_that_cannot_be_imported_is_an_error(module, capfd, name):
    assert cli.main(["predict", "--import", name]) == 1
    assert f"segattn predict: --import {name} fails" in capfd.readouterr().err
