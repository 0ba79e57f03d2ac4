"""``segattn compare``: the command line of :mod:`segattn.report`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from segattn.report import Comparison, Study, compare, divided_objects, load_runs, verdict, worst_objects
from segattn.report.markup import Exhibit
from segattn.report.page import write_page
from segattn.report.runs import SPLITS


def main(arguments: Sequence[str]) -> int:
    """Compare runs, print the scores and write the page."""
    given = _parser().parse_args(arguments[1:])
    study = load_runs(given.runs, given.split)
    comparison = compare(study, baseline=given.baseline, resamples=given.resamples, seed=given.seed, level=given.level)
    given.output.mkdir(parents=True, exist_ok=True)
    galleries, absent = _pictures(study, given.split) if given.pictures else ({}, "Pictures were turned off.")
    page = given.output / "index.html"
    write_page(study, comparison, page, galleries=galleries, absent=absent)
    tables = {"scores": comparison.means, "curve": comparison.curve, "classes": comparison.classes}
    for name, table in tables.items():
        table.to_csv(given.output / f"{name}.csv", index=False)
    _print(study, comparison)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if absent:
        console.print(f"note: {absent}")
    console.print(f"page: {page}, with {', '.join(f'{name}.csv' for name in tables)} beside it")
    return 0


def _pictures(study: Study, split: str) -> tuple[Mapping[str, Sequence[Exhibit]], str]:
    from segattn.compare.pictures import show_objects  # loads torch

    smallest = study.info.bucket_names[0]
    chosen = {f"Lost by all: the worst {smallest} objects, the largest of them first": worst_objects(study, smallest)}
    if len(study.names) > 1:
        chosen["Where the runs differ most"] = divided_objects(study, smallest)
    return show_objects(study, chosen, split)


def _print(study: Study, comparison: Comparison) -> None:
    rows = comparison.means[comparison.means["measure"] == "miou"]
    table = Table("run", "size", title="mIoU in percent, with intervals", box=box.SIMPLE_HEAD)  # fits 80 columns
    for column in ("mIoU", f"minus {comparison.baseline}"):
        table.add_column(column, justify="right")
    for name, part in rows.groupby("name", sort=False):
        for row in part.to_dict("records"):
            difference = _interval(row, "difference", "+") if row["result"] else ""
            score = _interval(row | {"score_low": row["low"], "score_high": row["high"]}, "score", "")
            table.add_row(str(name), str(row["size"]), score, difference)
        table.add_section()
    console = Console(markup=False)
    console.print(table)
    for sentence in verdict(study, comparison):
        console.print(f"- {sentence}", soft_wrap=True, highlight=False)


def _interval(row: Mapping[Any, Any], key: str, sign: str) -> str:
    if pd.isna(row[key]):
        return "-"
    value, low, high = (100 * row[name] for name in (key, f"{key}_low", f"{key}_high"))
    return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segattn compare",
        description="Say which run is better on which object sizes, with intervals, and write a web page. Runs of one "
        "name are seeds of one model, and are averaged.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folder of a run that was validated (runs/NAME/version_0, or runs/NAME for all versions), or its record",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for page and tables")
    parser.add_argument("--split", choices=SPLITS, default="val", help="whose records are compared (default: val)")
    parser.add_argument("--baseline", metavar="NAME", help="what the others are compared with (default: the first run)")
    parser.add_argument("--resamples", type=int, default=2000, metavar="N", help="of the bootstrap (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap (default: 0)")
    parser.add_argument("--level", type=float, default=0.95, metavar="0..1", help="of the intervals (default: 0.95)")
    parser.add_argument(
        "--no-pictures", dest="pictures", action="store_false", help="no pictures of objects; needs no torch"
    )
    return parser
