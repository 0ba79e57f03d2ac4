"""Kinds of errors by size: how many false pixels they are, and what they cost; see ``docs/object_size.md``."""

from typing import Any

import numpy as np
import pandas as pd

from segattn.report.bootstrap import Comparison
from segattn.report.page_parts import Table, table, wide_table
from segattn.report.runs import Run, Study
from segattn.report.scores import (
    COUNTS,
    KINDS,
    Array,
    Bins,
    count_cells,
    divide,
    kind_pixels,
    known_mean,
    object_cells,
    with_total,
)


def error_table(study: Study) -> pd.DataFrame:
    """The false pixels by kind, by ``name``, ``class_name`` and ``size`` (``all`` and the buckets).

    ``false_px`` is the number of false positives and false negatives. ``boundary``, ``extent`` and ``segment`` are
    their shares of it. ``lost_boundary``, ``lost_extent`` and ``lost_segment`` are the IoU that they cost, so that they
    and the IoU sum to 1. All are means over the runs of a name; nan where there is nothing to divide.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> table = report.error_table(study)
        >>> list(table.columns)
        ['name', 'class_name', 'size', 'false_px', 'boundary', 'extent', 'segment', 'lost_boundary',
         'lost_extent', 'lost_segment']
    """
    sizes, names = ["all", *study.info.bucket_names], study.info.class_names
    parts = []
    for name, runs in study.groups.items():
        values = [_error_columns(run) for run in runs]
        part: dict[str, Any] = {"name": name, "class_name": np.repeat(names, len(sizes))}
        part |= {"size": np.tile(sizes, len(names))}
        for key in values[0]:
            part[key] = known_mean(np.stack([value[key] for value in values]).astype(float)).ravel()
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def lost_means(comparison: Comparison) -> pd.DataFrame:
    """What each kind of error costs of the mIoU, by ``name`` and ``size``: columns with intervals for each kind."""
    wide = wide_table(comparison.means, [f"lost_{kind}" for kind in KINDS], ["name", "size"])
    return wide.rename(columns=lambda column: column.removeprefix("lost_"))


def kinds_summary(comparison: Comparison) -> Table:
    """The table of the costs by run and size."""
    miou = comparison.means[comparison.means["measure"] == "miou"]
    frame = miou[["name", "size", "score"]].merge(lost_means(comparison), on=["name", "size"])
    columns = {"name": "run", "size": "size", "score": "mIoU", **{kind: f"lost to {kind} errors" for kind in KINDS}}
    return table("kinds-table", frame, columns, percent=["score", *KINDS], sortable=False)


def kinds_classes(study: Study) -> Table:
    """The table of the kinds by class; it shows objects of the smallest size at first."""
    columns = {"class_name": "class", "size": "size", "name": "run", "false_px": "false pixels"}
    columns |= {kind: f"{kind}, %" for kind in KINDS}
    filters = {"size": study.info.bucket_names[0], "name": ""}
    return table("kinds-class-table", error_table(study), columns, percent=KINDS, filters=filters)


def _error_columns(run: Run) -> dict[str, Array]:
    """The columns of :func:`error_table`, each (classes, sizes)."""
    classes = len(run.info.class_names)
    bins = Bins(run.info, object_cells(run).sum(axis=1).reshape(classes, -1))
    counts = with_total(bins.to_buckets(count_cells(run).sum(axis=1).reshape(classes, -1, len(COUNTS))))
    union, false = counts[:, :, :3].sum(axis=2), counts[:, :, 1:3].sum(axis=2)
    pixels = kind_pixels(counts)
    return {
        "false_px": false,
        **{kind: divide(part, false) for kind, part in pixels.items()},
        **{f"lost_{kind}": divide(part, union) for kind, part in pixels.items()},
    }
