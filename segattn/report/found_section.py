"""Objects found in the comparison page."""

import pandas as pd
from markupsafe import Markup

from segattn.report.bootstrap import Comparison
from segattn.report.charts import curve_figure, found_figure
from segattn.report.page_parts import P_VALUES, Table, charts, table, wide_table
from segattn.report.runs import Study
from segattn.report.scores import FOUND_MEASURES

_TITLES = {"found": "found", "found_precision": "precision", "found_f1": "F1", "false_alarms": "false alarms per image"}
_PERCENT = ("found", "found_precision", "found_f1", "difference")


def found_means(comparison: Comparison) -> pd.DataFrame:
    """The scores of objects found, one line per ``name`` and ``size``: a column with interval for each measure.

    The ``difference`` is that of ``found``.
    """
    return wide_table(comparison.means, FOUND_MEASURES, ["name", "size"])


def found_summary(comparison: Comparison) -> Table:
    """The table of objects found by run and size."""
    columns = {"name": "run", "size": "size", **_TITLES}
    columns |= {"difference": f"found minus {comparison.baseline}", **P_VALUES, "classes": "classes"}
    columns |= {"objects": "objects"}
    return table("found-table", found_means(comparison), columns, percent=_PERCENT, sortable=False)


def found_classes(comparison: Comparison, size: str) -> Table:
    """The table of objects found by class; it shows objects of one size at first."""
    columns = {"class_name": "class", "size": "size", "name": "run", **_TITLES}
    columns |= {"difference": "difference of found", **P_VALUES, "adjusted_result": "result", "objects": "objects"}
    filters = {"size": size, "name": "", "adjusted_result": ""}
    frame = wide_table(comparison.found, FOUND_MEASURES, ["name", "class_name", "size"])
    return table("found-class-table", frame, columns, percent=_PERCENT, filters=filters)


def found_figures(study: Study, comparison: Comparison) -> dict[str, Markup]:
    """Objects found by size and, for each size, by threshold."""
    figures = {"Objects found by object size, with intervals": curve_figure(study, comparison, "found")}
    for size in study.info.bucket_names:
        figures[f"Share of {size} objects found, by the recall above which an object is found"] = found_figure(
            study, size
        )
    return charts(figures)
