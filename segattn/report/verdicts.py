"""The result of a comparison in words, and what the intervals do not cover."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from segattn.report.bootstrap import Comparison
from segattn.report.image_groups import ImageGroups
from segattn.report.runs import Study

FEW = 30
"""Number of images, or groups of images, below which intervals are unreliable."""


def verdict(study: Study, comparison: Comparison) -> list[str]:
    """Summarize a comparison: one sentence for each run except the baseline, then the limits of the intervals.

    A run is called better or worse only where the difference remains after the adjustment for many comparisons
    (``adjusted_result``).

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> sentences = report.verdict(study, report.compare(study, resamples=200))
        >>> sentences[0]
        'quickstart compared with quickstart_fcn (mIoU in points, 95 % interval): better overall (...'
    """
    if comparison.groups.count == 1:
        return ["With one image there are no intervals, so no run can be called better or worse."]
    sentences = [_result(comparison, name) for name in study.names if name != comparison.baseline]
    return [*sentences, *_limits(study, comparison)]


def win_tie_loss(comparison: Comparison, result: str = "adjusted_result") -> pd.DataFrame:
    """Count the classes for which each run is better than the baseline (win), worse (loss) or undecided (tie).

    ``result`` is the column to count: ``adjusted_result``, or ``result`` for the intervals alone.
    """
    table = comparison.classes[comparison.classes[result] != ""]
    counts = table.pivot_table(
        index=["name", "size"], columns=result, values="score", aggfunc="size", fill_value=0, sort=False
    )
    return counts.reindex(columns=["win", "tie", "loss"], fill_value=0).rename_axis(columns=None).reset_index()


def _result(comparison: Comparison, name: str) -> str:
    means = comparison.means
    rows = means[(means["name"] == name) & (means["measure"] == "miou") & means["difference"].notna()]
    count = int(rows["p"].count())
    result = rows["adjusted_result"].mask(rows["result"] != rows["adjusted_result"], "dropped")
    parts = [
        f"{word} {listed([_where(row) for row in rows[result == which].to_dict('records')])}"
        for which, word in (
            ("win", "better"),
            ("loss", "worse"),
            ("dropped", f"not clear after adjustment for {count} comparisons"),
            ("tie", "no clear difference"),
        )
        if (result == which).any()
    ]
    level = f"{100 * comparison.level:g} %"
    return (
        f"{name} compared with {comparison.baseline} (mIoU in points, {level} interval): {'; '.join(parts)}."
        f"{_classes(comparison, name)}"
    )


def _where(row: Mapping[Any, Any]) -> str:
    size = "overall" if row["size"] == "all" else f"on {row['size']} objects"
    difference, low, high = (100 * row[key] for key in ("difference", "difference_low", "difference_high"))
    return f"{size} ({difference:+.1f}, {low:+.1f} to {high:+.1f})"


def _classes(comparison: Comparison, name: str) -> str:
    counted = []
    for result in ("adjusted_result", "result"):
        table = win_tie_loss(comparison, result)
        counted.append(table[(table["name"] == name) & (table["size"] == "all")][["win", "loss", "tie"]].to_numpy())
    if not len(counted[0]):
        return ""
    (win, loss, tie), (raw_win, raw_loss, _) = (row.astype(int) for (row,) in counted)
    return (
        f" Better for {win} and worse for {loss} of {win + loss + tie} classes after adjustment for "
        f"{_family(comparison, name)} comparisons of classes and sizes ({raw_win} and {raw_loss} without adjustment)."
    )


def _family(comparison: Comparison, name: str) -> int:
    """Number of compared classes and sizes."""
    classes = comparison.classes
    return int(classes.loc[classes["name"] == name, "p"].count())


def _resamples(comparison: Comparison) -> list[str]:
    """A warning if even the smallest possible p-value is lost when the other differences are unclear."""
    most = max(_family(comparison, name) for name in comparison.classes["name"].unique())
    needed = math.ceil(2 * most / (1 - comparison.level))
    if comparison.resamples >= needed:
        return []
    return [
        f"With {comparison.resamples} resamples, a single difference among {most} comparisons cannot remain after "
        f"adjustment; --resamples {needed} is enough."
    ]


def _limits(study: Study, comparison: Comparison) -> list[str]:
    groups = comparison.groups
    counts = {name: len(runs) for name, runs in study.groups.items()}
    single = [name for name, count in counts.items() if count == 1]
    limits = []
    if single:
        reason = "so the intervals do not cover the variation between seeds"
        limits.append(f"For {listed(single)} there is one run each, {reason}.")
    if several := [f"{count} of {name}" for name, count in counts.items() if count > 1]:
        limits.append(f"With several runs ({', '.join(several)}), the intervals cover the variation between seeds too.")
    if groups.count < FEW:
        limits.append(f"With only {groups.count} {groups.what} the intervals are unreliable, probably too narrow.")
    return [*limits, *_resamples(comparison), _dependence(groups)]


def _dependence(groups: ImageGroups) -> str:
    if groups.are_images:
        similar = "If images resemble each other, such as frames of one video, all intervals are too narrow"
        return f"{similar}; --group-by draws such images together."
    images = len(groups.numbers)
    return (
        f"The intervals come from {groups.count} {groups.what} ({images:,} images), drawn as if they were independent."
    )


def listed(parts: Sequence[str]) -> str:
    """Join words: ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
