"""Tables as CSV, Markdown or LaTeX files, chosen by the file extension."""

from pathlib import Path

import pandas as pd

from segattn.io.atomic_write import atomic_write

ENDINGS = (".csv", ".md", ".tex")


def read_table_path(text: str) -> Path:
    """Check the extension of a path on a command line."""
    path = Path(text)
    if path.suffix not in ENDINGS:
        raise ValueError(f"{text!r} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    return path


def write_table(path: Path, values: pd.DataFrame, text: pd.DataFrame, *, note: str) -> None:
    """Write a table.

    Args:
        path: path of the file; ``.csv``, ``.md`` or ``.tex`` (a ``tabular`` that needs the LaTeX package booktabs).
        values: the numbers, for CSV.
        text: the same rows formatted, with titles as column names, for Markdown and LaTeX.
        note: one line that explains the numbers, below a Markdown table and as a comment in LaTeX.
    """
    with atomic_write(path) as target:
        if path.suffix == ".csv":
            values.to_csv(target, index=False)
        elif path.suffix == ".md":
            target.write_text(f"{_markdown(text)}\n\n{note}\n", encoding="utf-8")
        else:
            columns = "l" + "r" * (len(text.columns) - 1)
            tabular = text.to_latex(index=False, escape=True, column_format=columns)
            target.write_text(f"% {note}\n{tabular}", encoding="utf-8")


def _markdown(text: pd.DataFrame) -> str:
    rows = [list(text.columns), ["---", *["---:"] * (len(text.columns) - 1)], *text.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)
