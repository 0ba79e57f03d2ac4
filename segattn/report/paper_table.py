"""The table of a paper: one row per model with its scores by size, objects found and costs."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from segattn.report.bootstrap import Comparison
from segattn.report.page_parts import percent_text

COSTS = {
    "parameters": ("parameters, M", 1e6, 2),
    "multiply_adds": ("multiply-adds, G", 1e9, 2),
    "latency_ms": ("latency, ms", 1, 1),
    "step_ms": ("training step, ms", 1, 1),
}
"""Columns of costs, with their titles, units and numbers of decimals."""


def read_costs(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file of ``segattn benchmark --output``, or one with its column ``name`` and any of :data:`COSTS`.

    Returns:
        One row for each name that the file contains.

    Raises:
        ValueError: if the file has none of the columns or names, several rows for a name, or costs that are no numbers.
    """
    try:
        costs = pd.read_csv(path, dtype={"name": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file: {' '.join(str(error).split())}.") from error
    kept = [key for key in COSTS if key in costs.columns]
    if "name" not in costs.columns or not kept:
        raise ValueError(f"{path} needs a column name and at least one of {', '.join(COSTS)}.")
    found = costs[costs["name"].isin(names)]
    if found.empty:
        raise ValueError(
            f"{path} has costs of {', '.join(map(str, costs['name']))}, but the runs are {', '.join(names)}; a name is "
            "that of the config or of the folder of masks."
        )
    if repeated := sorted(found["name"][found["name"].duplicated()]):
        raise ValueError(f"{path} has several rows for {repeated[0]}; keep the one to show, such as one input size.")
    if wrong := [key for key in kept if not pd.api.types.is_numeric_dtype(found[key])]:
        raise ValueError(f"{path} has values in the column {wrong[0]} that are not numbers.")
    columns = ["name", *kept, *(key for key in ("input", "machine") if key in costs.columns)]
    return found[columns].reset_index(drop=True)


def without_costs(costs: pd.DataFrame, names: Sequence[str]) -> str:
    """A sentence that names the models without costs, or an empty one."""
    missing = [name for name in names if name not in set(costs["name"])]
    return f"The costs do not contain {', '.join(missing)}." if missing else ""


def model_table(comparison: Comparison, costs: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per ``name``: ``miou``, ``miou_SIZE`` and ``found`` with intervals (fractions of 1), and the costs."""
    means = comparison.means
    table = pd.DataFrame({"name": means["name"].unique()})
    for measure, size, key in _scores(comparison):
        part = means[(means["measure"] == measure) & (means["size"] == size)]
        columns = {f"score{end}": f"{key}{end}" for end in ("", "_low", "_high")}
        table = table.merge(part[["name", *columns]].rename(columns=columns), on="name")
    return table if costs is None else table.merge(costs, on="name", how="left")


def model_text(comparison: Comparison, table: pd.DataFrame) -> pd.DataFrame:
    """The table formatted, with titles as column names."""
    text: dict[str, list[str]] = {"model": table["name"].tolist()}
    rows = table.to_dict("records")
    for measure, size, key in _scores(comparison):
        title = "objects found" if measure == "found" else "mIoU" if size == "all" else size
        text[title] = [percent_text(row, key) for row in rows]
    for key, (title, unit, digits) in COSTS.items():
        if key in table.columns:
            text[title] = ["-" if pd.isna(value) else f"{value / unit:,.{digits}f}" for value in table[key]]
    return pd.DataFrame(text, dtype=object)


def model_note(comparison: Comparison, table: pd.DataFrame) -> str:
    """What the numbers of the table are, in one line."""
    note = (
        f"mIoU, mIoU of the objects of a size, and objects found in percent, with {100 * comparison.level:g} % "
        f"intervals from {comparison.resamples} bootstrap resamples of {comparison.groups.count:,} "
        f"{comparison.groups.what}."
    )
    for key, what in (("input", "Costs of inputs of"), ("machine", "Measured with")):
        if key in table.columns and table[key].notna().any():
            note += f" {what} {' and '.join(map(str, table[key].dropna().unique()))}."
    return note


def _scores(comparison: Comparison) -> list[tuple[str, str, str]]:
    """The measure, size and column of each score."""
    means = comparison.means
    sizes = [size for size in means[means["measure"] == "miou"]["size"].unique() if size != "all"]
    return [("miou", "all", "miou"), *(("miou", size, f"miou_{size}") for size in sizes), ("found", "all", "found")]
