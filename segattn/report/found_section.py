"""Objects found in the comparison page."""

import pandas as pd
from markupsafe import Markup

from segattn.report.bootstrap import Comparison
from segattn.report.charts import curve_figure, found_figure
from segattn.report.page_parts import Table, charts, table
from segattn.report.runs import Study
from segattn.report.scores import FOUND_MEASURES

_TITLES = {"found": "found", "found_precision": "precision", "found_f1": "F1", "false_alarms": "false alarms per image"}
_PERCENT = ("found", "found_precision", "found_f1", "difference")


def found_means(comparison: Comparison) -> pd.DataFrame:
    """The scores of objects found, one line per ``name`` and ``size``: a column with interval for each measure.

    The ``difference`` is that of ``found``.
    """
    return _wide(comparison.means, ["name", "size"])


def found_summary(comparison: Comparison) -> Table:
    """The table of objects found by run and size."""
    columns = {"name": "run", "size": "size", **_TITLES}
    columns |= {"difference": f"found minus {comparison.baseline}", "classes": "classes", "objects": "objects"}
    return table("found-table", found_means(comparison), columns, percent=_PERCENT, sortable=False)


def found_classes(comparison: Comparison, size: str) -> Table:
    """The table of objects found by class; it shows objects of one size at first."""
    columns = {"class_name": "class", "size": "size", "name": "run", **_TITLES}
    columns |= {"difference": "difference of found", "result": "result", "objects": "objects"}
    filters = {"size": size, "name": "", "result": ""}
    frame = _wide(comparison.found, ["name", "class_name", "size"])
    return table("found-class-table", frame, columns, percent=_PERCENT, filters=filters)


def found_figures(study: Study, comparison: Comparison) -> dict[str, Markup]:
    """Objects found by size and, for each size, by threshold."""
    figures = {"Objects found by object size, with intervals": curve_figure(study, comparison, "found")}
    for size in study.info.bucket_names:
        figures[f"Share of {size} objects found, by the recall above which an object is found"] = found_figure(
            study, size
        )
    return charts(figures)


def _wide(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One line per key, with the measures in columns."""
    wide = table[table["measure"] == "found"].rename(columns={"score": "found"} | _bounds("found"))
    for measure in FOUND_MEASURES[1:]:
        part = table[table["measure"] == measure].rename(columns={"score": measure} | _bounds(measure))
        wide = wide.merge(part[[*keys, measure, *_bounds(measure).values()]], on=keys)
    return wide


def _bounds(measure: str) -> dict[str, str]:
    return {f"score_{end}": f"{measure}_{end}" for end in ("low", "high")}
