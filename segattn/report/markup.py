"""What a page consists of: tables, figures and pictures as the template takes them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from segattn.report.charts import to_svg


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: at its head.
        numeric: whether it is aligned to the right and sorted by value.
    """

    title: str
    numeric: bool


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is shown.
        value: what it is sorted by (``nan`` comes last); None for text.
        kind: class for its style: ``win``, ``loss`` or none.
    """

    text: str
    value: str | None = None
    kind: str = ""


@dataclass(frozen=True)
class Filter:
    """A choice of the rows whose text in one column is equal to the chosen one.

    Attributes:
        title: of the choice.
        column: number of the column.
        choices: texts.
        chosen: at first; empty for all.
    """

    title: str
    column: int
    choices: Sequence[str]
    chosen: str


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        id: in the page.
        columns: heads.
        rows: cells.
        filters: choices above it.
        sortable: by its heads.
        hint: shown where text can be searched for.
    """

    id: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    filters: Sequence[Filter] = ()
    sortable: bool = True
    hint: str = "any text"


@dataclass(frozen=True)
class Chart:
    """A figure of the page.

    Attributes:
        svg: the element.
        caption: below it.
    """

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Picture:
    """A small image of the page.

    Attributes:
        label: what it shows.
        png: the file's bytes.
    """

    label: str
    png: bytes

    @property
    def uri(self) -> str:
        """The file inside an address."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Exhibit:
    """An object in pictures.

    Attributes:
        title: its class, size and scores.
        place: the file that it is in, and where.
        pictures: image, truth and predictions.
    """

    title: str
    place: str
    pictures: Sequence[Picture]


def chart(figure: Figure, caption: str) -> Chart:
    """A figure with its caption, which is also read to those who cannot see it."""
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
    """A table from a data frame.

    Args:
        name: of the table in the page.
        frame: the values.
        columns: titles of the columns that are shown, by their names in the frame.
        percent: names of fractions that are shown in percent; with ``NAME_low`` and ``NAME_high`` in the frame, their
            bounds follow.
        signed: those that are differences: shown with their sign, and styled by the frame's ``result``.
        filters: by name of a column, the value that is chosen at first, empty for all.
        sortable: by its heads.
        hint: shown where text can be searched for.
    """
    numeric = {key: pd.api.types.is_numeric_dtype(frame[key]) for key in columns}
    rows = [
        [_cell(row, key, percent=key in percent, signed=key in signed, numeric=numeric[key]) for key in columns]
        for row in frame.to_dict("records")
    ]
    heads = [Column(title, numeric[key]) for key, title in columns.items()]
    order = list(columns)
    choices = [
        Filter(columns[key], order.index(key), [str(value) for value in frame[key].unique() if value], chosen)
        for key, chosen in (filters or {}).items()
    ]
    return Table(name, heads, rows, choices, sortable=sortable, hint=hint)


def _cell(row: Mapping[Any, Any], key: str, *, percent: bool, signed: bool, numeric: bool) -> Cell:
    value = row[key]
    if not numeric:
        kind = str(value) if key == "result" and value in ("win", "loss") else ""
        return Cell(str(value), kind=kind)
    number, result = float(str(value)), str(row.get("result", ""))
    if signed and not result:
        return Cell("", "nan")
    if np.isnan(number):
        return Cell("-", "nan")
    if not percent:
        return Cell(f"{number:,.0f}" if number == round(number) else f"{number:,.1f}", f"{number:g}")
    sign = "+" if signed else ""
    text = f"{100 * number:{sign}.1f}"
    bounds = [float(str(row[f"{key}_{end}"])) for end in ("low", "high") if f"{key}_{end}" in row]
    if len(bounds) == 2 and not any(np.isnan(bounds)):
        text += f" ({100 * bounds[0]:{sign}.1f} to {100 * bounds[1]:{sign}.1f})"
    return Cell(text, f"{number:.6g}", result if signed and result in ("win", "loss") else "")
