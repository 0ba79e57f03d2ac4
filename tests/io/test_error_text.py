"""What went wrong, in one sentence for every command."""

import numpy as np
import pytest
import torch

from segattn import cli
from segattn.io.error_text import is_out_of_memory, one_line

FRAMES = (
    "Exception raised from valid at ../caffe2/serialize/inline_container.cc:181 (most recent call first):\nframe #0:"
)
UNENDING = {"python": lambda: MemoryError(), "numpy": lambda: np.empty(1 << 50), "torch": lambda: torch.empty(1 << 55)}


def test_the_frames_of_other_code_are_left_out():
    assert one_line(RuntimeError(f"failed reading\n the archive.\n{FRAMES} c10::Error")) == "failed reading the archive"
    assert one_line(KeyError()) == "KeyError"


@pytest.mark.parametrize("kind", UNENDING)
def test_running_out_of_memory_is_said_by_every_command(kind, monkeypatch, capsys):
    def greedy(arguments):
        raise UNENDING[kind]()

    monkeypatch.setattr(cli, "_runner", lambda command: greedy)
    assert cli.main(["explain"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("segattn explain: Out of memory (")
    assert error.endswith("): take smaller images or batches, or sliding windows.\n")
    assert error.count("\n") == 1


def test_other_errors_are_no_lack_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))
    assert not is_out_of_memory(RuntimeError("a wrong shape"))
