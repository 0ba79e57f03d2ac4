"""Every segattn command in README and docs is a correct command line: it fails only because its files are not here."""

import re
import shlex
from pathlib import Path

import pytest

import segattn
from segattn.cli import COMMANDS as ALL
from segattn.cli import main

ROOT = Path(segattn.__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
KNOWN = set(ALL) - {"benchmark"}  # it needs no files
MISSING = r"There is no|No such file|No data found|no config|has no checkpoint|does not exist|no image"


def documented_commands():
    """The command lines in code blocks, with continued lines joined, and one value for each variable of the shell."""
    commands = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^(?:    )?(?:\$ |srun )?segattn (.+)$", text, re.M):
            words = shlex.split(line.replace("$head", "fla").replace("$seed", "0"), comments=True)
            if words[0] in KNOWN and not {"|", "&&"} & set(words):
                commands.setdefault(" ".join(words), words)
    return commands


COMMANDS = documented_commands()


def test_commands_are_found():
    assert len(COMMANDS) > 40
    assert {words[0] for words in COMMANDS.values()} >= {"fit", "validate", "predict", "score", "compare", "export"}


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = COMMANDS[command]
    if words[0] in ("fit", "validate", "test"):
        alone = [
            "--trainer.devices",
            "1",
            "--trainer.num_nodes",
            "1",
            "--trainer.accelerator",
            "cpu",
        ]  # more processes would run this test again
        words = [*words, *alone, "--model.encoder.weights", "null"]
    for option in {"--devices", "--num-nodes"} & set(words):
        words = [*words, option, "1"]
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    error = "".join(capsys.readouterr())
    assert code == 1, error
    assert re.search(MISSING, error), error
