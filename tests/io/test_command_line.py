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
        precision: ``16`` or 32, in 100 % of the bits.
        progress: no progress bar.
    """

    batch_size: int = 1
    window: tuple[int, int] | None = None
    precision: Literal[16, 32] | None = None
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
    run(*words.split(), "--window", "769", "--precision", "16", "--model.head", "FCNHead", "--data.root=x")
    settings = Settings(batch_size=4, window=(769, 769), precision=16, progress=False)
    assert calls[0] == {
        **{"runs": [Path("a")], "others": ("--model.head", "FCNHead", "--data.root=x"), "point": (1, 2)},
        **{"split": "test", "class": "1e3", "scales": (0.5, 1.0), "flip": True, "align_corners": False},
        "settings": settings,
    }
    words = "a --point 1,2 --window 5 7 --scales 1 --scales 2 3 --precision 32 --class null"
    run(*words.split())
    assert calls[0]["settings"] == Settings(window=(5, 7), precision=32)
    assert calls[0]["class"] == "null"
    assert calls[0]["scales"] == (1, 2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("a", "arguments are required: point"),
        ("--point 1,2", "arguments are required: runs"),
        ("a --point 1", "argument --point: a point must be X,Y, got '1'"),
        ("a --point 1,2 --split train", "argument --split: invalid choice: 'train'"),
        ("a --point 1,2 --precision 8", "argument --precision: invalid choice: 8"),
        ("a --point 1,2 --batch-size many", "argument --batch-size: invalid int: 'many'"),
        ("a --point 1,2 --scales 1 x", "argument --scales: invalid float: 'x'"),
        ("a --point 1,2 --window 1 2 3", "argument --window: expected one or 2 values, got 3"),
        ("a --point 1,2 --batch 3", "unrecognized arguments: --batch 3: did you mean --batch-size?"),
        ("a --point 1,2 --zzz 3", "unrecognized arguments: --zzz 3."),
    ],
)
def test_wrong_options_end_in_one_sentence(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(*arguments.split())
    error = capsys.readouterr().err
    assert error.startswith("segattn work: ")
    assert message in error
    assert error.endswith((". See segattn work --help.\n", "? See segattn work --help.\n"))
    assert error.count("\n") == 1
    assert not calls


def test_names_of_methods_are_options_like_others():
    """The namespace of jsonargparse stores such names in another form."""

    def show(*, values: str = "", items: int = 0) -> int:
        """Show.

        Args:
            values: text
            items: number
        """
        calls.append((values, items))
        return 0

    assert run_command(show, ["--values", "indices", "--items", "3"], prog="segattn show") == 0
    assert calls.pop() == ("indices", 3)


def test_help_comes_from_the_docstrings(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    text = capsys.readouterr().out
    for part in ("Do the work.", "RUN [RUN ...]", "--point X,Y", "{val,test}", "which images (default: val)"):
        assert part in text
    assert "How the run works:" in text
    assert "16 or 32, in 100 % of the bits\n" in text
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
