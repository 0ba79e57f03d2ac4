import pytest
import timm.layers
from jsonargparse import ArgumentParser

import segattn.attention
from segattn.attention.block import BlockFactory


def chosen_class(name):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--block", type=BlockFactory)
    return parser.parse_args(["--block", name]).block.class_path


@pytest.mark.parametrize("name", segattn.attention.__all__)
def test_a_config_names_a_block_without_its_module(name):
    assert chosen_class(name) == f"segattn.attention.{name}"


def test_blocks_of_other_libraries_have_their_full_name():
    assert hasattr(timm.layers, "GlobalContext")  # a name that this package has, too
    assert chosen_class("timm.layers.GlobalContext") == "timm.layers.GlobalContext"
