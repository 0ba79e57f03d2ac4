"""What a comparison supports and what it does not, in words."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from segattn.report.bootstrap import Comparison
from segattn.report.runs import Study

FEW_IMAGES = 30


def verdict(study: Study, comparison: Comparison) -> list[str]:
    """Sentences for a reader: one per name on what is supported, then what the intervals do not cover."""
    sentences = [_of_name(study, comparison, name) for name in study.names if name != comparison.baseline]
    return [*sentences, *_limits(study, comparison)]


def win_tie_loss(comparison: Comparison) -> pd.DataFrame:
    """How many classes each name wins, ties and loses against the baseline, by ``name`` and ``size``."""
    table = comparison.classes[comparison.classes["result"] != ""]
    counts = table.pivot_table(
        index=["name", "size"], columns="result", values="score", aggfunc="size", fill_value=0, sort=False
    )
    return counts.reindex(columns=["win", "tie", "loss"], fill_value=0).rename_axis(columns=None).reset_index()


def _of_name(study: Study, comparison: Comparison, name: str) -> str:
    means = comparison.means
    chosen = means[(means["name"] == name) & (means["measure"] == "miou") & means["difference"].notna()]
    supported = [
        f"{'better' if row['result'] == 'win' else 'worse'} {_where(row)}"
        for row in chosen.to_dict("records")
        if row["result"] != "tie"
    ]
    open_ones = [_where(row) for row in chosen.to_dict("records") if row["result"] == "tie"]
    level = f"{100 * comparison.level:g} %"
    said = f"{name} against {comparison.baseline}, points of mIoU: "
    if supported:
        said += f"supported at {level} is that it is {', '.join(supported)}"
        said += f"; not decided {', '.join(open_ones)}." if open_ones else "."
    else:
        said += f"nothing is supported at {level}: {', '.join(open_ones)}."
    return said + _classes(comparison, name)


def _where(row: Mapping[Any, Any]) -> str:
    size = "over all" if row["size"] == "all" else f"on {row['size']} objects"
    difference, low, high = (100 * row[key] for key in ("difference", "difference_low", "difference_high"))
    return f"{size} ({difference:+.1f}, interval {low:+.1f} to {high:+.1f})"


def _classes(comparison: Comparison, name: str) -> str:
    table = win_tie_loss(comparison)
    rows = table[(table["name"] == name) & (table["size"] == "all")]
    if rows.empty:
        return ""
    win, tie, loss = (int(rows[key].iloc[0]) for key in ("win", "tie", "loss"))
    total, tail = win + tie + loss, 1 - comparison.level
    return f" Of {total} classes it wins {win} and loses {loss}; about {tail * total:.1f} would stand out by chance."


def _limits(study: Study, comparison: Comparison) -> list[str]:
    single = [name for name, runs in study.groups.items() if len(runs) == 1]
    limits = []
    if single:
        limits.append(
            f"The intervals cover the choice of images; they say nothing of what training {_listed(single)} again with "
            "another seed would give."
        )
    if len(single) < len(study.names):
        several = {name: len(runs) for name, runs in study.groups.items() if len(runs) > 1}
        counts = ", ".join(f"{count} of {name}" for name, count in several.items())
        limits.append(f"Where there are several runs ({counts}), the intervals cover the choice of seeds too.")
    if len(study.images) < FEW_IMAGES:
        limits.append(f"With {len(study.images)} images the intervals are themselves uncertain, and rather too narrow.")
    videos = "Images that resemble each other, such as frames of one drive, make every interval too narrow."
    return [*limits, videos]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
