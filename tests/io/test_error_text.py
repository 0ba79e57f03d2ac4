import numpy as np
import pytest
import torch

from segattn import cli
from segattn.io.error_text import did_you_mean, first_line, is_out_of_memory, one_line

FRAMES = (
    "Exception raised from valid at ../caffe2/serialize/inline_container.cc:181 (most recent call first):\nframe #0:"
)
TOO_LARGE = {"python": lambda: MemoryError(), "numpy": lambda: np.empty(1 << 50), "torch": lambda: torch.empty(1 << 55)}


def test_messages_become_one_line():
    assert one_line(RuntimeError(f"failed reading\n the archive.\n{FRAMES} c10::Error")) == "failed reading the archive"
    assert one_line(KeyError()) == "KeyError"
    assert one_line(OSError(28, "No space left on device", "a.png")) == "No space left on device"
    assert first_line(RuntimeError(f"\nfailed reading.\nthe archive\n{FRAMES}")) == "failed reading"
    assert first_line(KeyError()) == "KeyError"


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_every_command_reports_running_out_of_memory(kind, monkeypatch, capsys):
    def greedy(arguments):
        raise TOO_LARGE[kind]()

    monkeypatch.setattr(cli, "_runner", lambda command: greedy)
    assert cli.main(["explain"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("segattn explain: Out of memory (")
    assert error.endswith("): use smaller images or batches, or sliding windows.\n")
    assert error.count("\n") == 1


def test_out_of_memory_errors_are_recognized():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))
    assert not is_out_of_memory(RuntimeError("a wrong shape"))


def test_suggestions_ignore_case_and_need_similarity():
    assert did_you_mean("flahaed", ["FCNHead", "FLAHead"]) == ": did you mean FLAHead?"
    assert did_you_mean("zzz", ["FCNHead"], otherwise="use another") == ": use another."
    assert did_you_mean("zzz", []) == "."


def test_an_unknown_command_suggests_the_nearest_one(capsys):
    assert cli.main(["predit"]) == 2
    assert capsys.readouterr().err == "segattn: there is no command 'predit': did you mean predict?\n"
    assert cli.main(["zzz"]) == 2
    assert "there is no command 'zzz': the commands are init, check, fit," in capsys.readouterr().err
