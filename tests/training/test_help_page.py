"""The short help fits a page, names only options that exist, and does not import torch."""

import os
import re
import subprocess
import sys

import pytest

from segattn import cli
from segattn.training.command import main
from segattn.training.help_page import help_page
from tests.test_imports import modules_after

COMMANDS = ("fit", "validate", "test")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_page(command, capsys):
    assert cli.main([command, "--config", "camvid_fla.yaml", "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: segattn {command}")
    assert len(printed.splitlines()) <= 60
    assert max(map(len, printed.splitlines())) <= 120


@pytest.mark.parametrize("command", COMMANDS)
def test_options_in_the_help_exist(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help-all"])
    printed = capsys.readouterr().out
    assert "Batches of a data set. Subclasses implement the method dataset:" in printed  # titles have no markup
    everything = set(re.findall(r"--[\w.-]+", printed))
    options = set(re.findall(r"--[\w.-]+", help_page(command))) - {"--KEY"}
    assert len(options) > 10
    subclass = {option for option in options if option.startswith(("--data.", "--model.head.", "--model.optimizer."))}
    assert options - subclass <= everything | {"--help-all", "--help"}


def test_options_of_classes_exist(capsys):
    options = list(re.findall(r"--[\w.-]+", help_page("fit")))
    for group, name in (
        ("data", "CamVidDataModule"),
        ("model.head", "FLAHead"),
        ("model.optimizer", "torch.optim.SGD"),
    ):
        with pytest.raises(SystemExit):
            main(["fit", f"--{group}.help", name])
        described = set(re.findall(r"--[\w.-]+", capsys.readouterr().out))
        named = {option for option in options if option.startswith(f"--{group}.") and not option.endswith(".help")}
        assert named
        assert named <= described | {f"--{group}.init_args{option.removeprefix(f'--{group}')}" for option in described}


def test_help_does_not_import_torch():
    loaded = modules_after("import segattn.cli; segattn.cli.main(['fit', '--help'])")
    assert not loaded & {"torch", "lightning", "numpy", "jsonargparse"}


def test_a_reader_may_stop_before_the_end():
    """As `segattn fit --help | head -1` does."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "import sys; from segattn.cli import main; sys.exit(main(['fit', '--help']))"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")
