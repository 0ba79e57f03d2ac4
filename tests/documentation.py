"""The code blocks and the command lines of README and docs."""

import re
import shlex
from pathlib import Path

import segattn

ROOT = Path(segattn.__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def fenced_blocks(language: str) -> dict[str, str]:
    """The fenced blocks of a language, named by page and number: ``score.md 2``."""
    found = {}
    for page in PAGES:
        blocks = [text for name, text in FENCED.findall(page.read_text(encoding="utf-8")) if name == language]
        found |= {f"{page.name} {number}": text for number, text in enumerate(blocks, start=1)}
    return found


def shell_lines() -> list[str]:
    """All lines for a shell, in order, with continued lines joined: indented, or fenced without or with ``bash``."""
    lines = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for language, block in FENCED.findall(text):
            if language in ("", "bash"):
                lines += block.splitlines()
        lines += re.findall(r"^    (\S.*)", FENCED.sub("", text), re.M)
    return [line.strip().removeprefix("$ ").removeprefix("srun ") for line in lines]


def segattn_commands() -> dict[str, list[str]]:
    """The arguments of every segattn command, with one value for each variable of the shell, and braces expanded."""
    commands = {}
    for line in shell_lines():
        if re.match(r"segattn \w+(?!:)\b", line) and not re.search(r"[|&]", line):
            words = shlex.split(line.replace("$head", "fla").replace("$seed", "0"), comments=True)[1:]
            commands[" ".join(words)] = [part for word in words for part in _expand(word)]
    return commands


def _expand(word: str) -> list[str]:
    """``a_{b,c}`` as the shell expands it."""
    match = re.fullmatch(r"([^\[{]*)\{([^}:]+)\}(.*)", word)
    return [f"{match[1]}{choice}{match[3]}" for choice in match[2].split(",")] if match else [word]
