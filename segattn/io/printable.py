"""Text from files and file names, made safe for one line of a terminal."""


def printable(text: str) -> str:
    r"""Escape line breaks, terminal control sequences and invalid Unicode: ``a\nb`` becomes ``a\\nb``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def printable_lines(text: str) -> str:
    """:func:`printable` for text of several lines: line breaks before an indented line are kept."""
    return "\n  ".join(map(printable, text.split("\n  ")))
