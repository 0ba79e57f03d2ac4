"""Text from files and file names, made safe for one line of a terminal."""


def printable(text: str) -> str:
    r"""Escape line breaks, terminal control sequences and invalid Unicode: ``a\nb`` becomes ``a\\nb``."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
