"""Figures of a study, for notebooks and as SVG that adopts the text color of a web page."""

import io
import re
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from segattn.objects.found import FOUND_RECALL
from segattn.report.bootstrap import Comparison
from segattn.report.found_tables import found_curve
from segattn.report.runs import Study
from segattn.report.scores import KINDS, divide
from segattn.report.tables import confusion_matrix, curves

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#882255")
"""The color-blind safe palette of Okabe and Ito and two more colors, legible on white and on black."""

KIND_COLORS = (COLORS[4], COLORS[5], COLORS[3])
"""Colors of the kinds of errors: boundary, extent, segment."""

MARKERS = "os^Dv<>P"
MOST_CLASSES = 40
"""Largest number of classes in figures by class (the largest differences), or with names in a confusion matrix."""

_INK = "#010203"  # placeholder for the text color of the page
_LONGEST_NAME = 24
_WIDTH = 4.9  # inches: the width of a phone, so that text is legible there


class ReportFigure(Figure):
    """A figure that notebooks show as SVG on white."""

    def _repr_svg_(self) -> str:
        text = io.StringIO()
        self.savefig(text, format="svg", facecolor="white")
        return text.getvalue()


def curve_figure(study: Study, comparison: Comparison, measure: str = "miou") -> Figure:
    """Draw the mean over classes by object size, with intervals; ``measure`` is ``miou``, ``mrecall`` or ``found``."""
    what = {"miou": "IoU", "mrecall": "recall", "found": "share found"}[measure]
    figure, axes = _size_axes(study, f"mean {what} over classes, %")
    for number, name in enumerate(study.names):
        table = comparison.curve
        table = table[(table["name"] == name) & (table["measure"] == measure) & table["score"].notna()]
        x = _places(table)
        values = (100 * table[["score", "score_low", "score_high"]]).to_numpy().T
        style = _style(number)
        axes.fill_between(x, values[1], values[2], color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(x, values[0], **style, markersize=4, label=name)
    _legend(figure, axes)
    return figure


def pooled_figure(study: Study, measure: str = "iou") -> Figure:
    """Draw ``iou`` or ``recall`` by object size: over all pixels of a size (solid), and means over objects (dashed)."""
    figure, axes = _size_axes(study, "IoU, %" if measure == "iou" else "recall, %")
    table = curves(study)
    for number, name in enumerate(study.names):
        part = table[(table["name"] == name) & (table["objects"] > 0)]
        x, style = _places(part), _style(number) | {"markersize": 4}
        axes.plot(x, 100 * part[f"pooled_{measure}"], label=name, **style)
        axes.plot(x, 100 * part[f"object_{measure}"], linestyle="--", markerfacecolor="none", **style)
    for line, what in (("-", "all pixels of a size"), ("--", "mean over objects")):
        axes.plot([], [], color="#888888", linestyle=line, label=what)
    _legend(figure, axes)
    return figure


def found_figure(study: Study, size: str) -> Figure:
    """Draw the share of the objects of a bucket that are found, mean over classes, by the required recall."""
    figure, axes = _axes(3.4 + 0.09 * len(study.names))
    table = found_curve(study)
    table = table[(table["size"] == size) & table["found"].notna()]
    for number, name in enumerate(study.names):
        part = table[table["name"] == name]
        axes.plot(100 * part["recall"], 100 * part["found"], **_style(number), markersize=4, label=name)
    axes.axvline(100 * FOUND_RECALL, color="#888888", linestyle=":", linewidth=1)
    axes.set(xlim=(0, 100), ylim=(0, 103), xlabel="recall above which an object is found, %")
    axes.set_ylabel(f"{size} objects found, %")
    _legend(figure, axes)
    return figure


def lost_figure(study: Study, comparison: Comparison) -> Figure:
    """Draw what each kind of error costs of the mIoU, overall and by bucket: one bar per run."""
    sizes, names = ["all", *study.info.bucket_names], study.names
    figure, axes = _axes(max(1.8, 1.1 + 0.2 * len(sizes) * (len(names) + 0.8)))
    place = {(name, size): s * (len(names) + 0.8) + n for s, size in enumerate(sizes) for n, name in enumerate(names)}
    left = dict.fromkeys(place, 0.0)
    for kind, color in zip(KINDS, KIND_COLORS, strict=True):
        table = comparison.means[comparison.means["measure"] == f"lost_{kind}"].dropna(subset=["score"])
        keys = list(zip(table["name"], table["size"], strict=True))
        lost = (100 * table["score"]).tolist()
        axes.barh([place[key] for key in keys], lost, left=[left[key] for key in keys], color=color, label=kind)
        left |= {key: left[key] + value for key, value in zip(keys, lost, strict=True)}
    axes.set_yticks(list(place.values()), [f"{size}, {_short(name)}" for name, size in place])
    axes.invert_yaxis()
    axes.set_xlabel("mIoU lost, points")
    _legend(figure, axes)
    return figure


def difference_figure(study: Study, comparison: Comparison) -> Figure:
    """Draw the differences of mIoU from the baseline, overall and by bucket, with intervals."""
    table = comparison.means
    table = table[(table["measure"] == "miou") & (table["name"] != comparison.baseline) & table["difference"].notna()]
    names = [name for name in study.names if name != comparison.baseline]
    sizes = ["all", *study.info.bucket_names]
    top = np.arange(len(sizes)) * (len(names) + 0.8)
    figure, axes = _axes(max(1.8, 1.1 + 0.09 * len(names) + 0.2 * len(sizes) * (len(names) + 0.8)))
    for number, name in enumerate(names):
        part = table[table["name"] == name].set_index("size").reindex(sizes).reset_index()
        _intervals(axes, part, top + number, name=name, position=study.names.index(name))
    axes.set_yticks(top + (len(names) - 1) / 2, sizes)
    axes.margins(y=0.12)
    axes.invert_yaxis()
    axes.set_xlabel(f"mIoU minus that of {_short(comparison.baseline)}, points")
    _legend(figure, axes)
    return figure


def class_figure(study: Study, comparison: Comparison, name: str, size: str = "all") -> Figure:
    """Draw the differences between a run and the baseline by class, largest first, for a bucket or ``all`` sizes."""
    table = comparison.classes
    table = table[(table["name"] == name) & (table["size"] == size) & table["difference"].notna()]
    largest = table["difference"].abs().nlargest(MOST_CLASSES).index
    kept = table.loc[largest].sort_values("difference", ascending=False)
    figure, axes = _axes(max(1.4, 0.8 + 0.19 * len(kept)))
    _intervals(axes, kept, np.arange(len(kept)), name=name, position=study.names.index(name))
    axes.set_yticks(range(len(kept)), [_short(name) for name in kept["class_name"]])
    axes.set_ylim(max(1, len(kept)) - 0.5, -0.5)
    axes.set_xlabel(f"IoU minus that of {_short(comparison.baseline)}, points")
    return figure


def latency_figure(study: Study, table: pd.DataFrame, size: str) -> Figure:
    """Draw the mIoU of a bucket, with intervals, against the latency; ``table`` is a ``model_table`` with costs."""
    figure, axes = _axes(3.4 + 0.09 * len(study.names))
    for row in table[table["latency_ms"].notna()].to_dict("records"):
        score, low, high = (100 * row[f"miou_{size}{end}"] for end in ("", "_low", "_high"))
        reach = np.clip([[score - low], [high - score]], 0, None)
        style = _style(study.names.index(row["name"]))
        axes.errorbar(row["latency_ms"], score, yerr=reach, label=row["name"], **style, linestyle="", elinewidth=1.6)
    axes.margins(x=0.08)  # before the limit, which fixes both ends
    axes.set_xlim(left=0)
    axes.set(xlabel="latency, ms", ylabel=f"mIoU of {size} objects, %")
    _legend(figure, axes)
    return figure


def confusion_figure(study: Study, name: str, size: str | None = None) -> Figure:
    """Draw the share of the pixels of every class (rows) by predicted class (columns), of one size or all."""
    matrix = confusion_matrix(study, name, size).to_numpy()
    share = divide(matrix, np.broadcast_to(matrix.sum(1, keepdims=True), matrix.shape))
    classes = len(matrix)
    figure, axes = _axes(4.6)
    axes.imshow(100 * share, cmap="viridis", vmin=0, vmax=100, interpolation="nearest", aspect="equal")
    axes.grid(visible=False)
    axes.set(xlabel="predicted", ylabel="annotated")
    if classes <= MOST_CLASSES:
        small = 8 if classes <= 20 else 6
        names = [_short(name) for name in study.info.class_names]
        axes.set_xticks(range(classes), names, rotation=90, fontsize=small)
        axes.set_yticks(range(classes), names, fontsize=small)
    if classes <= 12:
        for (row, column), value in np.ndenumerate(100 * share):
            if value >= 0.5:
                color = "black" if value > 60 else "white"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)
    return figure


def to_svg(figure: Figure, title: str) -> str:
    """Convert a figure to an SVG element with the text color and font of the page; ``title`` is for screen readers."""
    text = io.StringIO()
    for label in figure.findobj(Text):
        label.set_parse_math(False)  # names may contain dollar signs
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "text.parse_math": False}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'font: ([^;"]*?)(\d+(?:\.\d+)?px) [^;"]*', r"font-size: \2", svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head).replace("<svg", '<svg role="img"', 1)
    return f'{head} aria-label="{escape(title)}">{rest}'


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = ReportFigure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color="#888888", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_INK, fontsize=10)
    axes.spines[:].set_edgecolor("#888888")
    return figure, axes


def _size_axes(study: Study, title: str) -> tuple[Figure, Axes]:
    """Axes of sizes, shown as the side of a square of the same area, with lines at the edges of the buckets."""
    figure, axes = _axes(3.4 + 0.09 * len(study.names))
    info = study.info
    axes.set_xscale("log", base=2)
    axes.set(ylim=(0, 103), ylabel=title)
    for edge in info.edges:
        axes.axvline(np.sqrt(edge), color="#888888", linestyle=":", linewidth=1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    axes.set_xlabel("size as the side of a square, " + ("relative to the image" if info.relative else "px"))
    return figure, axes


def _places(table: pd.DataFrame) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """The middle of every bin on a logarithmic axis of sides; open bins extend by a factor of two."""
    low, high = table["low_edge"].to_numpy(float), table["high_edge"].to_numpy(float)
    low, high = np.where(low == 0, high / 4, low), np.where(np.isinf(high), low * 4, high)
    return np.asarray((low * high) ** 0.25)


def _intervals(axes: Axes, table: pd.DataFrame, y: Any, *, name: str, position: int) -> None:
    """Draw differences with intervals; the position of the run gives color and marker."""
    values = (100 * table[["difference", "difference_low", "difference_high"]]).to_numpy().T
    reach = np.clip(np.stack([values[0] - values[1], values[2] - values[0]]), 0, None)
    axes.axvline(0, color="#888888", linewidth=1)
    axes.errorbar(values[0], y, xerr=reach, label=name, **_style(position), linestyle="", markersize=5, elinewidth=1.6)


def _legend(figure: Figure, axes: Axes) -> None:
    """Add a legend above the axes."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        options: dict[str, Any] = {"frameon": False, "fontsize": 8, "columnspacing": 1.2, "labelcolor": _INK}
        figure.legend(handles, map(_short, labels), loc="outside upper left", ncols=2, **options)


def _short(name: str) -> str:
    """Shorten a long name in the middle."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 + 1 :]}"


def _style(number: int) -> dict[str, Any]:
    return {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
