"""Scores of single objects: by their properties, and the objects with the lowest IoU."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from segattn.report.runs import Run, Study
from segattn.report.scores import row_buckets

WIDTHS = (0, 2, 4, 8, 16, 32, 64, np.inf)
ELONGATIONS = (0, 1.5, 2, 4, 8, 16, np.inf)


def _by_property(run: Run, which: str) -> pd.DataFrame:
    objects = run.objects
    names = pd.Index(run.info.bucket_names)
    codes = row_buckets(run)[(run.rows["kind"] == "object").to_numpy()]
    buckets = pd.Categorical.from_codes(codes, names, ordered=True)
    keyed = objects[["size_px", "tp", "recall", "iou"]].assign(size=buckets, value=PROPERTIES[which][1](objects))
    grouped = keyed.groupby(["size", "value"], observed=True)
    sums, means = grouped[["tp", "size_px"]].sum(), grouped[["recall", "iou"]].mean()
    recalls = {"pooled_recall": sums["tp"] / sums["size_px"], "object_recall": means["recall"]}
    return pd.DataFrame({"objects": grouped.size(), **recalls, "object_iou": means["iou"]}).reset_index()


def _ranges(rows: pd.DataFrame, column: str, edges: Sequence[float | int]) -> ExtensionArray:
    labels = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    labels[-1] = f"{edges[-2]:g} or more"
    labels[0] = f"below {edges[1]:g}"
    return pd.Categorical.from_codes(np.digitize(rows[column], edges[1:-1]), pd.Index(labels), ordered=True)


def _either(rows: pd.DataFrame, column: str, *, yes: str, no: str) -> ExtensionArray:
    codes = np.where(rows[column], 0, 1)
    return pd.Categorical.from_codes(codes, pd.Index([yes, no]), ordered=True)


PROPERTIES: Mapping[str, tuple[str, Callable[[pd.DataFrame], ExtensionArray]]] = {
    "thinness": ("largest width, px", lambda rows: _ranges(rows, "max_width_px", WIDTHS)),
    "elongation": ("area / largest width²", lambda rows: _ranges(rows, "elongation", ELONGATIONS)),
    "border": ("position", lambda rows: _either(rows, "touches_border", yes="touches the border", no="inside")),
    "ignore": (
        "position",
        lambda rows: _either(rows, "touches_ignore", yes="touches ignored pixels", no="does not touch"),
    ),
    "merged": ("prediction", lambda rows: _either(rows, "merged", yes="merged with another object", no="separate")),
}
"""Properties that objects are grouped by: the title of the groups, and the group of each object."""


def property_table(study: Study, which: str) -> pd.DataFrame:
    """Recall and IoU of objects by a property within each bucket; ``which`` must be a key of :data:`PROPERTIES`.

    The number of ``objects``, their ``pooled_recall``, and the means over objects ``object_recall`` and ``object_iou``,
    by ``name``, ``size`` and ``value`` of the property. All are means over the runs of a name.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> table = report.property_table(study, "thinness")
        >>> list(table.columns)
        ['name', 'size', 'value', 'objects', 'pooled_recall', 'object_recall', 'object_iou']
    """
    if which not in PROPERTIES:
        raise ValueError(f"which must be one of {', '.join(PROPERTIES)}, got {which!r}.")
    parts = [_by_property(run, which).assign(name=name) for name, runs in study.groups.items() for run in runs]
    keys = ["name", "size", "value"]
    table = pd.concat(parts, ignore_index=True)
    table["name"] = pd.Categorical(table["name"], study.names)
    grouped = table.groupby(keys, observed=True, sort=True)
    mean = grouped.mean().reset_index()
    runs = mean["name"].map({name: len(runs) for name, runs in study.groups.items()}).astype(int)
    mean["objects"] = grouped["objects"].sum().to_numpy() / runs  # a run without such an object counts as 0
    return mean.astype({"name": str, "size": str, "value": str})


def worst_objects(study: Study, size: str, count: int = 12, *, per_class: int = 3) -> pd.DataFrame:
    """The objects of a bucket with the lowest IoU over all runs; the largest first among equals.

    At most ``count`` objects are listed, at most ``per_class`` of one class, with image, class, bounding box and size,
    and the IoU of every name in columns ``iou NAME``.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> len(report.worst_objects(study, "small", count=5))
        5
    """
    table = _object_ious(study, size).sort_values(["iou", "size_px"], ascending=[True, False], kind="stable")
    return table.groupby("class_id", sort=False).head(per_class).head(count).reset_index(drop=True)


def divided_objects(study: Study, size: str, count: int = 6, *, per_class: int = 2) -> pd.DataFrame:
    """The objects of a bucket on which the runs differ most, with the columns of :func:`worst_objects`.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> len(report.divided_objects(study, "small", count=4))
        4
    """
    table = _object_ious(study, size)
    ious = table[[f"iou {name}" for name in study.names]]
    table = table.assign(spread=(ious.max(axis=1) - ious.min(axis=1)) * np.sqrt(table["size_px"]))
    table = table[table["spread"] > 0].sort_values("spread", ascending=False, kind="stable").drop(columns="spread")
    return table.groupby("class_id", sort=False).head(per_class).head(count).reset_index(drop=True)


def _object_ious(study: Study, size: str) -> pd.DataFrame:
    columns = ["image", "class_id", "class_name", "size_px", "y0", "x0", "y1", "x1"]
    first = study.runs[0]
    chosen = row_buckets(first)[(first.rows["kind"] == "object").to_numpy()] == study.info.bucket_names.index(size)
    rows = first.objects.loc[chosen, columns]
    table: pd.DataFrame = rows.astype({"image": str, "class_name": str}).reset_index(drop=True)
    for name, runs in study.groups.items():
        table[f"iou {name}"] = np.mean([run.objects["iou"].to_numpy()[chosen] for run in runs], axis=0)
    table["iou"] = table[[f"iou {name}" for name in study.names]].mean(axis=1)
    return table
