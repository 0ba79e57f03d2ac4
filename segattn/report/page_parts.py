"""The parts of the comparison page in the form that its template expects: tables, charts and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from segattn.report.charts import to_svg

P_VALUES = {"p": "p", "p_adjusted": "adjusted p"}
"""Titles of the columns with p-values."""

_OF_DIFFERENCES = ("difference", *P_VALUES, "adjusted_result")


class Cell(NamedTuple):
    """A cell: its text, the number to sort by (``nan`` comes last), and its CSS class (``win`` or ``loss``)."""

    text: str
    value: str | None = None
    kind: str = ""


class Filter(NamedTuple):
    """A choice of rows by the text in a column; ``chosen`` is selected at first (empty: all rows)."""

    title: str
    column: int
    choices: Sequence[str]
    chosen: str


class Table(NamedTuple):
    """A table with filters above it; columns by title, numeric (True) or text."""

    id: str
    columns: Mapping[str, bool]
    rows: Sequence[Sequence[Cell]]
    filters: Sequence[Filter]
    sortable: bool


class Exhibit(NamedTuple):
    """Pictures of one object, with its class, size and scores as title, and its file and position as place.

    The pictures are addresses that contain small images, by label.
    """

    title: str
    place: str
    pictures: Mapping[str, str]


def charts(figures: Mapping[str, Figure]) -> dict[str, Markup]:
    """Convert figures to SVG elements, by caption; the caption is also the description for screen readers."""
    return {caption: Markup(to_svg(figure, caption)) for caption, figure in figures.items()}  # texts are escaped


def table(
    name: str,
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    percent: Sequence[str] = (),
    filters: Mapping[str, str] | None = None,
    sortable: bool = True,
) -> Table:
    """Build a table from a data frame.

    A column ``difference`` is shown with a sign and colored by the frame's ``adjusted_result``. The columns of
    differences are left out if there are none.

    Args:
        name: id of the table in the page.
        frame: the values.
        columns: titles of the columns to show, by their names in the frame.
        percent: columns with fractions, shown in percent, with their intervals from ``NAME_low`` to ``NAME_high``.
        filters: initial choice (empty for all) by the name of the column to filter by.
        sortable: whether clicking a title sorts the rows.
    """
    if (frame.get("adjusted_result", pd.Series(["tie"])) == "").all():  # a single run
        columns = {key: title for key, title in columns.items() if key not in _OF_DIFFERENCES}
        filters = {key: chosen for key, chosen in (filters or {}).items() if key in columns}
    numeric = {key: pd.api.types.is_numeric_dtype(frame[key]) for key in columns}
    rows = [
        [_cell(row, key, percent=key in percent, numeric=numeric[key]) for key in columns]
        for row in frame.to_dict("records")
    ]
    choices = [
        Filter(columns[key], list(columns).index(key), [str(value) for value in frame[key].unique() if value], chosen)
        for key, chosen in (filters or {}).items()
    ]
    return Table(name, {columns[key]: numeric[key] for key in columns}, rows, choices, sortable)


def wide_table(frame: pd.DataFrame, measures: Sequence[str], keys: list[str]) -> pd.DataFrame:
    """One line per key of a table of measures, with a column for each measure and for the ends of its interval.

    All other columns are those of the first measure.
    """
    parts: list[pd.DataFrame] = []
    for measure in measures:
        own = {f"score{end}": f"{measure}{end}" for end in ("", "_low", "_high")}
        part = frame[frame["measure"] == measure].rename(columns=own)
        parts.append(part if not parts else part[[*keys, *own.values()]])
    wide, *others = parts
    for part in others:
        wide = wide.merge(part, on=keys)
    return wide


def _cell(row: Mapping[Any, Any], key: str, *, percent: bool, numeric: bool) -> Cell:
    value, result, signed = row[key], str(row.get("adjusted_result", "")), key == "difference"
    if not numeric:
        return Cell(str(value), kind=result if key == "adjusted_result" and result != "tie" else "")
    if key in _OF_DIFFERENCES and not result:
        return Cell("", "nan")
    if np.isnan(value):
        return Cell("-", "nan")
    if key in P_VALUES:
        return Cell(f"{value:.3f}" if value >= 0.001 else "<0.001", f"{value:.6g}")
    if not percent and f"{key}_low" in row:
        return Cell(interval_text(row, key, factor=1, digits=2), f"{value:.6g}")
    if not percent:
        return Cell(f"{value:,.0f}" if value == round(value) else f"{value:,.1f}", f"{value:g}")
    text = percent_text(row, key, sign="+" if signed else "")
    return Cell(text, f"{value:.6g}", result if signed and result != "tie" else "")


def percent_text(row: Mapping[Any, Any], key: str, *, sign: str = "") -> str:
    """A fraction of a row in percent, with its interval if the row has one: ``53.1 (51.0 to 55.2)``."""
    return interval_text(row, key, sign=sign)


def interval_text(row: Mapping[Any, Any], key: str, *, factor: int = 100, digits: int = 1, sign: str = "") -> str:
    """A value of a row times ``factor``, with its interval if the row has one."""
    value, low, high = (factor * row.get(name, np.nan) for name in (key, f"{key}_low", f"{key}_high"))
    if np.isnan(value):
        return "-"
    known = not np.isnan([low, high]).any()
    return f"{value:{sign}.{digits}f}" + (f" ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})" if known else "")
