from pathlib import Path

import pytest

from segattn.cli import main
from segattn.io.printable import printable, printable_lines
from segattn.objects import ObjectSizes
from segattn.sample import ClassInfo, ClassTable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße 路 🚗.png", "Straße 路 🚗.png"),
        ("a\nfailed: b", "a\\nfailed: b"),
        ("\x1b[31mred\r\t", "\\x1b[31mred\\r\\t"),
        ("right\u202eleft\x85\u2028", "right\\u202eleft\\x85\\u2028"),
        ("\udcff.png", "\\udcff.png"),
    ],
)
def test_only_printable_characters_stay(text, expected):
    assert printable(text) == expected
    printable(text).encode("utf-8")


def test_only_indented_lines_are_kept():
    assert printable_lines("a:\n  b\n    c\nfailed: d\x1b[0m") == "a:\n  b\n    c\\nfailed: d\\x1b[0m"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31mred"])
def test_names_in_tables_must_be_visible_text(name):
    with pytest.raises(ValueError, match="A class name must be visible text in one line, got '"):
        ClassTable((ClassInfo(name, (0, 0, 0), 0),))
    with pytest.raises(ValueError, match="A bucket name must be visible text in one line, got '"):
        ObjectSizes(edges=(9.0,), names=(name, "large"))


@pytest.mark.parametrize("command", ["predict", "compare", "score", "check", "explain"])
def test_a_file_name_cannot_forge_a_line_of_output(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x.png").touch()
    bad = "a\nfailed: \x1b[31mb"
    arguments = {
        "predict": ["--checkpoint", bad, "--images", "x.png", "--output", "out"],
        "compare": [bad, "--output", "out"],
        "score": ["--truth", bad, "--masks", ".", "--classes", "ade20k", "--output", "out"],
        "check": ["--config", bad],
        "explain": ["--checkpoint", bad, "--image", bad, "--point", "1,1", "--output", "out"],
    }
    assert main([command, *arguments[command]]) == 1
    error = capsys.readouterr().err
    assert "a\\nfailed: \\x1b[31mb" in error
    assert error.count("\n") == 1
    assert "\x1b" not in error
