"""The parts of the comparison page in the form that its template expects: tables, charts and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from segattn.report.charts import to_svg


class Column(NamedTuple):
    """A column of a table; numeric ones are aligned to the right and sorted by value."""

    title: str
    numeric: bool


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
    """A table with filters above it; ``hint`` is shown in the search field."""

    id: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    filters: Sequence[Filter]
    sortable: bool
    hint: str


class Chart(NamedTuple):
    """A figure as an SVG element, with its caption."""

    svg: Markup
    caption: str


class Picture(NamedTuple):
    """A small image, as an address that contains it, with its label."""

    label: str
    uri: str


class Exhibit(NamedTuple):
    """Pictures of one object, with its class, size and scores as title, and its file and position as place."""

    title: str
    place: str
    pictures: Sequence[Picture]


def chart(figure: Figure, caption: str) -> Chart:
    """Convert a figure; the caption is also its description for screen readers."""
    return Chart(Markup(to_svg(figure, caption)), caption)  # matplotlib escapes the texts in it


def table(
    name: str,
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    percent: Sequence[str] = (),
    signed: Sequence[str] = (),
    filters: Mapping[str, str] | None = None,
    sortable: bool = True,
    hint: str = "any text",
) -> Table:
    """Build a table from a data frame.

    Args:
        name: id of the table in the page.
        frame: the values.
        columns: titles of the columns to show, by their names in the frame.
        percent: columns with fractions, shown in percent, with their intervals from ``NAME_low`` to ``NAME_high``.
        signed: columns with differences, shown with a sign and colored by the frame's ``result``.
        filters: initial choice (empty for all) by the name of the column to filter by.
        sortable: whether clicking a title sorts the rows.
        hint: shown in the search field.
    """
    numeric = {key: pd.api.types.is_numeric_dtype(frame[key]) for key in columns}
    rows = [
        [_cell(row, key, percent=key in percent, signed=key in signed, numeric=numeric[key]) for key in columns]
        for row in frame.to_dict("records")
    ]
    choices = [
        Filter(columns[key], list(columns).index(key), [str(value) for value in frame[key].unique() if value], chosen)
        for key, chosen in (filters or {}).items()
    ]
    return Table(name, [Column(columns[key], numeric[key]) for key in columns], rows, choices, sortable, hint)


def _cell(row: Mapping[Any, Any], key: str, *, percent: bool, signed: bool, numeric: bool) -> Cell:
    value, result = row[key], str(row.get("result", ""))
    if not numeric:
        return Cell(str(value), kind=result if key == "result" and result != "tie" else "")
    if np.isnan(value) or (signed and not result):
        return Cell("" if signed and not result else "-", "nan")
    if not percent:
        return Cell(f"{value:,.0f}" if value == round(value) else f"{value:,.1f}", f"{value:g}")
    text = percent_text(row, key, sign="+" if signed else "")
    return Cell(text, f"{value:.6g}", result if signed and result != "tie" else "")


def percent_text(row: Mapping[Any, Any], key: str, *, sign: str = "") -> str:
    """A fraction of a row in percent, with its interval if the row has one: ``53.1 (51.0 to 55.2)``."""
    value, low, high = (100 * row.get(name, np.nan) for name in (key, f"{key}_low", f"{key}_high"))
    if np.isnan(value):
        return "-"
    return f"{value:{sign}.1f}" + ("" if np.isnan([low, high]).any() else f" ({low:{sign}.1f} to {high:{sign}.1f})")
