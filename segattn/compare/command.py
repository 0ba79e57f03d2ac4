"""``segattn compare``: the command line of :mod:`segattn.report`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from segattn.io.command_line import run_command
from segattn.io.printable import printable
from segattn.io.table_files import read_table_path, write_table
from segattn.report import (
    Comparison,
    Study,
    compare,
    divided_objects,
    error_table,
    found_curve,
    load_runs,
    verdict,
    worst_objects,
)
from segattn.report.comparison_page import write_page
from segattn.report.error_tables import lost_means
from segattn.report.found_section import found_means
from segattn.report.page_parts import Exhibit, percent_text
from segattn.report.paper_table import COSTS, model_note, model_table, model_text, read_costs, without_costs
from segattn.report.scores import FOUND_MEASURES, KINDS


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return run_command(compare_runs, arguments[1:], prog="segattn compare")


def compare_runs(
    runs: Annotated[list[Path], "RUN"],
    /,
    *,
    output: Annotated[Path, "DIR"],
    split: Literal["val", "test"] = "val",
    baseline: str | None = None,
    group_by: Annotated[str | None, "GROUPS"] = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    pictures: bool = True,
    costs: Annotated[Path | None, "FILE"] = None,
    table: Annotated[Path | None, read_table_path, "FILE"] = None,
) -> int:
    """Compare runs by object size and write a web page.

    Tables give mIoU by object size with bootstrap intervals. Runs of the same name are treated as seeds of one model
    and averaged, unless all runs have one name; then each is shown on its own.

    Args:
        runs: folder of a validated run (runs/NAME/version_0, or runs/NAME for all versions), or an object record
        output: folder for the page and the tables
        split: which records to compare
        baseline: name of the run that the others are compared with; default: the first one
        group_by: images to resample together, because they resemble each other: image (none), blocks:N (N consecutive
            images), a regular expression whose first group, or match, in the image name is the group, or column:NAME
            of the record; default: cities of Cityscapes, drives of CamVid (blocks:10 if there is one drive), else image
        resamples: number of bootstrap resamples
        seed: seed of the bootstrap
        level: level of the intervals
        pictures: omit the pictures of objects (then torch is not needed)
        costs: CSV file of segattn benchmark --output; a row belongs to the run with its name
        table: write one table with a row per model: scores by size, objects found and costs; .csv, .md or .tex
    """
    study = load_runs(runs, split)
    known = read_costs(costs, study.names) if costs else None
    comparison = compare(study, baseline=baseline, group_by=group_by, resamples=resamples, seed=seed, level=level)
    output.mkdir(parents=True, exist_ok=True)
    galleries, missing = _pictures(study, split) if pictures else ({}, "Pictures are turned off.")
    page = output / "index.html"
    write_page(study, comparison, page, galleries=galleries, missing=missing, costs=known)
    scores = comparison.means if known is None else comparison.means.merge(known, on="name", how="left")
    tables = {"scores": scores, "curve": comparison.curve, "classes": comparison.classes}
    tables |= {"found": comparison.found, "found_curve": found_curve(study), "errors": error_table(study)}
    for name, frame in tables.items():
        frame.to_csv(output / f"{name}.csv", index=False)
    _print(study, comparison)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    models = model_table(comparison, known)
    if known is not None:
        console.print(_costs(models, model_text(comparison, models)))
        console.print(printable(" ".join([model_note(comparison, models), without_costs(known, study.names)]).strip()))
    if table:
        write_table(table, models, model_text(comparison, models), note=model_note(comparison, models))
        console.print(f"wrote {table}")
    if missing:
        console.print(printable(f"note: {missing}"))
    console.print(f"wrote {page} and {', '.join(f'{name}.csv' for name in tables)} in the same folder")
    return 0


def _pictures(study: Study, split: str) -> tuple[Mapping[str, Sequence[Exhibit]], str]:
    from segattn.compare.pictures import show_objects  # loads torch

    smallest = study.info.bucket_names[0]
    chosen = {f"Missed by all: the {smallest} objects with the lowest IoU": worst_objects(study, smallest)}
    if len(study.names) > 1:
        chosen["Where the runs differ most"] = divided_objects(study, smallest)
    return show_objects(study, chosen, split)


def _print(study: Study, comparison: Comparison) -> None:
    rows = comparison.means[comparison.means["measure"] == "miou"]
    table = Table("run", "size", title="mIoU in percent, with intervals", box=box.SIMPLE_HEAD)  # fits 80 columns
    several = len(study.names) > 1
    for column in ("mIoU", *([f"minus {comparison.baseline}"] if several else [])):
        table.add_column(column, justify="right")
    for name, part in rows.groupby("name", sort=False):
        for row in part.to_dict("records"):
            difference = percent_text(row, "difference", sign="+") if row["result"] else ""
            shown = [percent_text(row, "score"), *([difference] if several else [])]
            table.add_row(str(name), str(row["size"]), *shown)
        table.add_section()
    console = Console(markup=False)
    console.print(table)
    console.print(_found(comparison))
    console.print(_lost(comparison))
    for sentence in verdict(study, comparison):
        console.print(f"- {sentence}", soft_wrap=True, highlight=False)


def _costs(models: pd.DataFrame, text: pd.DataFrame) -> Table:
    """The costs and, of the scores, only the mIoU."""
    titles = [title for title, *_ in COSTS.values() if title in text]
    table = Table("run", title="mIoU in percent, and costs", box=box.SIMPLE_HEAD)
    for column in ("mIoU", *titles):
        table.add_column(column, justify="right")
    for name, miou, costs in zip(models["name"], models["miou"], text[titles].to_numpy().tolist(), strict=True):
        table.add_row(name, f"{100 * miou:.1f}", *costs)
    return table


def _found(comparison: Comparison) -> Table:
    table = Table("run", "size", title="objects found in percent, false alarms per image", box=box.SIMPLE_HEAD)
    for column in ("found", "precision", "F1", "false alarms"):
        table.add_column(column, justify="right")
    for name, part in found_means(comparison).groupby("name", sort=False):
        for row in part.to_dict("records"):
            scores = [percent_text(row, "found"), *(percent_text({key: row[key]}, key) for key in FOUND_MEASURES[1:3])]
            table.add_row(str(name), str(row["size"]), *scores, f"{row['false_alarms']:.2f}")
        table.add_section()
    return table


def _lost(comparison: Comparison) -> Table:
    table = Table("run", "size", title="mIoU lost by kind of error, in points", box=box.SIMPLE_HEAD)
    for kind in KINDS:
        table.add_column(kind, justify="right")
    for name, part in lost_means(comparison).groupby("name", sort=False):
        for row in part.to_dict("records"):
            table.add_row(str(name), str(row["size"]), *(percent_text({kind: row[kind]}, kind) for kind in KINDS))
        table.add_section()
    return table
