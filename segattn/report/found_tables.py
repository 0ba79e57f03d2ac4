"""Tables of objects found and false alarms; the definition is in ``docs/object_size.md``."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from segattn.objects.found import FOUND_RECALL
from segattn.report.runs import Run, Study
from segattn.report.scores import FOUND_MEASURES, Array, divide, known_mean, row_buckets, run_scores, with_total

RECALLS = tuple(number / 20 for number in range(20))
"""Thresholds of the curve: 0, 0.05, ..., 0.95."""


def found_table(study: Study, recall: float = FOUND_RECALL) -> pd.DataFrame:
    """Objects found and false alarms by ``name``, ``class_name`` and ``size`` (``all`` and the buckets).

    ``found`` is the share of the ``objects`` with a recall above ``recall``; ``found_precision``, ``found_f1``, and
    ``false_alarms`` per image. All are means over the runs of a name.

    Raises:
        ValueError: if the threshold is out of range.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> table = report.found_table(study, recall=0.75)
        >>> list(table.columns)
        ['name', 'class_name', 'size', 'found', 'found_precision', 'found_f1', 'false_alarms', 'objects']
    """
    sizes, names = ["all", *study.info.bucket_names], study.info.class_names
    parts = []
    for name, runs in study.groups.items():
        scored, (bins, *_) = zip(*(run_scores(run, recall) for run in runs), strict=True)
        part = {"name": name, "class_name": np.repeat(names, len(sizes)), "size": np.tile(sizes, len(names))}
        for measure in FOUND_MEASURES:
            part[measure] = known_mean(np.stack([getattr(scores, f"class_{measure}") for scores in scored])).ravel()
        part["objects"] = with_total(bins.bucket_objects).astype(int).ravel()
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def found_curve(study: Study, recalls: Sequence[float] = RECALLS) -> pd.DataFrame:
    """The share of objects ``found`` by ``name``, ``size`` (``all`` and the buckets) and threshold ``recall``.

    It is the mean over the classes with enough objects, and then over the runs of a name. At threshold 0 an object is
    found if one of its pixels is.

    Raises:
        ValueError: if the thresholds are out of range or not ascending.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> curve = report.found_curve(study, recalls=[0.25, 0.5, 0.75])
        >>> list(curve.columns)
        ['name', 'size', 'recall', 'found']
    """
    if list(recalls) != sorted(recalls) or not all(0 <= recall < 1 for recall in recalls):
        raise ValueError(f"recalls must be ascending numbers of at least 0 and below 1, got {list(recalls)}.")
    sizes = ["all", *study.info.bucket_names]
    parts = []
    for name, runs in study.groups.items():
        found = known_mean(np.stack([_mean_found(run, recalls) for run in runs]))
        part = {"name": name, "size": np.repeat(sizes, len(recalls)), "recall": np.tile(recalls, len(sizes))}
        parts.append(pd.DataFrame({**part, "found": found.ravel()}))
    return pd.concat(parts, ignore_index=True)


def _mean_found(run: Run, recalls: Sequence[float]) -> Array:
    """The share of objects found, mean over classes: (sizes, thresholds)."""
    chosen = (run.rows["kind"] == "object").to_numpy()
    rows, buckets = run.rows[chosen], len(run.info.bucket_names)
    shape = (len(run.info.class_names), buckets, len(recalls) + 1)
    passed = np.searchsorted(recalls, (rows["tp"] / rows["size_px"]).to_numpy(), side="left")  # thresholds below recall
    cells = (rows["class_id"].to_numpy().astype(np.int64), row_buckets(run)[chosen], passed)
    counts = np.bincount(np.ravel_multi_index(cells, shape), minlength=int(np.prod(shape))).reshape(shape)
    at_least = with_total(counts)[..., ::-1].cumsum(-1)[..., ::-1]  # objects that passed at least so many thresholds
    objects = at_least[..., :1]
    share = divide(at_least[..., 1:], np.broadcast_to(objects, (*objects.shape[:2], len(recalls))))
    return known_mean(share, objects >= run.info.min_objects)
