import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from segattn.io.command_line import run_command

calls: list = []


def read_point(text):
    x, comma, y = text.partition(",")
    if not comma:
        raise ValueError(f"a point must be X,Y, got {text!r}.")
    return int(x), int(y)


@dataclass(frozen=True)
class Settings:
    """How the run works.

    Attributes:
        batch_size: images at once.
        window: height and width in pixels.
        probabilities: ``all`` classes, or the best N of 100 %.
        progress: no progress bar.
    """

    batch_size: int = 1
    window: tuple[int, int] | None = None
    probabilities: Literal["all"] | int | None = None
    progress: bool = True


def command(
    runs: Annotated[list[Path], "RUN"],
    /,
    *others: str,
    point: Annotated[tuple[int, int], read_point, "X,Y"],
    split: Literal["val", "test"] = "val",
    class_name: str | None = None,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    align_corners: bool | None = None,
    settings: Settings = Settings(),
) -> int:
    """Do the work.

    Args:
        runs: folders.
        point: the pixel.
        split: which images.
        class_name: class to show.
        scales: factors.
        flip: also mirrored.
        align_corners: how to resize.
    """
    calls.append(
        {"runs": runs, "others": others, "point": point, "split": split, "class": class_name, "scales": scales}
        | {"flip": flip, "align_corners": align_corners, "settings": settings}
    )
    return 3


def run(*arguments):
    calls.clear()
    names = {"class_name": "class", "progress": "quiet"}
    return run_command(command, arguments, prog="segattn work", names=names)


def test_defaults_are_those_of_the_function():
    assert run("a", "b", "--point", "1,2") == 3
    assert calls == [
        {"runs": [Path("a"), Path("b")], "others": (), "point": (1, 2), "split": "val", "class": None}
        | {"scales": (1.0,), "flip": False, "align_corners": None, "settings": Settings()}
    ]


def test_all_kinds_of_options():
    words = "--point 1,2 a --split test --class 1e3 --scales 0.5 1 --flip --no-align-corners --batch-size 4 --quiet"
    run(*words.split(), "--window", "769", "--probabilities", "all", "--model.head", "FCNHead", "--data.root=x")
    settings = Settings(batch_size=4, window=(769, 769), probabilities="all", progress=False)
    assert calls[0] == {
        **{"runs": [Path("a")], "others": ("--model.head", "FCNHead", "--data.root=x"), "point": (1, 2)},
        **{"split": "test", "class": "1e3", "scales": (0.5, 1.0), "flip": True, "align_corners": False},
        "settings": settings,
    }
    words = "a --point 1,2 --window 5 7 --scales 1 --scales 2 3 --probabilities 2 --class null"
    run(*words.split())
    assert calls[0]["settings"] == Settings(window=(5, 7), probabilities=2)
    assert calls[0]["class"] == "null"
    assert calls[0]["scales"] == (1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("a", "missing --point"),
        ("--point 1,2", "missing RUN"),
        ("a --point 1", "argument --point: a point must be X,Y, got '1'"),
        ("a --point 1,2 --split train", "--split must be one of val, test, got 'train'"),
        ("a --point 1,2 --batch-size many", "--batch-size must be an integer, got 'many'"),
        ("a --point 1,2 --probabilities some", "--probabilities must be all or an integer, got 'some'"),
        ("a --point 1,2 --scales 1 x", "argument --scales: invalid float value: 'x'"),
        ("a --point 1,2 --window 1 2 3", "--window takes one or 2 values, got 3"),
        ("a --point 1,2 --batch 3", "unrecognized arguments: --batch 3"),
    ],
)
def test_a_wrong_option_ends_in_one_sentence(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(*arguments.split())
    assert capsys.readouterr().err == f"segattn work: {message}. See segattn work --help.\n"
    assert not calls


def test_help_comes_from_the_docstrings(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    text = capsys.readouterr().out
    for part in ("Do the work.", "RUN [RUN ...]", "--point X,Y", "{val,test}", "which images (default: val)"):
        assert part in text
    assert "How the run works:" in text
    assert "all classes, or the best N of 100 %." in text
    assert "--no-align-corners" in text
    assert "--settings" not in text


@pytest.mark.parametrize("command", ["compare", "explain", "export", "benchmark"])
def test_help_does_not_import_torch(command):
    code = (
        "import sys\nfrom segattn.cli import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
