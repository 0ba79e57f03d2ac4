"""The result of a comparison in words, and what the intervals do not cover."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from segattn.report.bootstrap import Comparison
from segattn.report.image_groups import ImageGroups
from segattn.report.runs import Study

FEW = 30
"""Number of images, or groups of images, below which intervals are unreliable."""


def verdict(study: Study, comparison: Comparison) -> list[str]:
    """Summarize a comparison: one sentence for each run except the baseline, then the limits of the intervals."""
    sentences = [_result(comparison, name) for name in study.names if name != comparison.baseline]
    return [*sentences, *_limits(study, comparison.groups)]


def win_tie_loss(comparison: Comparison) -> pd.DataFrame:
    """Count the classes for which each run is better than the baseline (win), worse (loss) or undecided (tie)."""
    table = comparison.classes[comparison.classes["result"] != ""]
    counts = table.pivot_table(
        index=["name", "size"], columns="result", values="score", aggfunc="size", fill_value=0, sort=False
    )
    return counts.reindex(columns=["win", "tie", "loss"], fill_value=0).rename_axis(columns=None).reset_index()


def _result(comparison: Comparison, name: str) -> str:
    means = comparison.means
    rows = means[(means["name"] == name) & (means["measure"] == "miou") & means["difference"].notna()]
    parts = [
        f"{word} {listed([_where(row) for row in rows[rows['result'] == result].to_dict('records')])}"
        for result, word in (("win", "better"), ("loss", "worse"), ("tie", "no clear difference"))
        if (rows["result"] == result).any()
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
    table = win_tie_loss(comparison)
    rows = table[(table["name"] == name) & (table["size"] == "all")]
    if rows.empty:
        return ""
    win, tie, loss = (int(rows[key].iloc[0]) for key in ("win", "tie", "loss"))
    chance = (1 - comparison.level) * (win + tie + loss)
    return f" Better for {win} and worse for {loss} of {win + tie + loss} classes; about {chance:.1f} by chance alone."


def _limits(study: Study, groups: ImageGroups) -> list[str]:
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
    return [*limits, _dependence(groups)]


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
