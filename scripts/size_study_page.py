"""Write the figure and the tables of docs/size_study.md from the counts of the study.

    python scripts/size_study_page.py --add runs/controlled

The folder contains one folder of ``size_study.py`` per context, whose counts are added to those of the repository
first. Variants with fewer than two seeds are left out. ``--power`` prints the differences that are found with 80 %
probability instead of writing the page.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from scipy.stats import false_discovery_control
from study_counts import CONTEXTS, COUNTS, SIDES, add_records, read_counts, read_studies, variant_names

from segattn.report import Comparison, Study, compare

ROOT = Path(__file__).parents[1]
HYPOTHESES = ROOT / "scripts" / "studies" / "controlled_hypotheses.yaml"
EQUAL = 1.0  # points
SEEDS, IMAGES = (10, 20, 40), (400, 1000, 4000)  # of the table of power


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the results into the page, or print the power."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", type=Path, metavar="DIR", help="records to add, one folder per context")
    parser.add_argument("--counts", type=Path, default=COUNTS, metavar="DIR", help="default: those of the repository")
    parser.add_argument("--power", action="store_true", help="print the differences that are found, and stop")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "size_study.md", metavar="FILE")
    given = parser.parse_args(arguments)
    if given.add:
        add_records(given.add, given.counts)
    if given.power:
        print(power_table(given.counts))
        return
    studies = read_studies(given.counts)
    if not studies:
        parser.error(f"{given.counts} has no counts of two seeds of the variant none; add records with --add")
    comparisons = {name: compare(study, baseline="none") for name, study in studies.items()}
    picture = given.page.parent / "images" / "size_study.png"
    figure(comparisons).savefig(picture, dpi=100)
    tables = [context_table(name, studies[name], each) for name, each in comparisons.items()]
    text = "\n\n".join(
        [
            "## Results",
            f"![Difference from none by object size](images/{picture.name})",
            *tables,
            *cost_table(given.counts),
            decision_table(studies),
        ]
    )
    page, count = re.subn(
        r"(<!-- results -->\n).*?(<!-- end of results -->)",
        lambda match: f"{match[1]}{text}\n\n{match[2]}",
        given.page.read_text(),
        flags=re.DOTALL,
    )
    if not count:
        parser.error(f"{given.page} has no lines <!-- results --> and <!-- end of results -->")
    given.page.write_text(page)
    print(f"page: {given.page}\nfigure: {picture}")


def differences(comparison: Comparison, name: str) -> pd.DataFrame:
    """Differences of mIoU from the baseline in points, by size."""
    table = comparison.means
    chosen = table[(table["measure"] == "miou") & (table["name"] == name)].set_index("size").loc[list(SIDES)]
    columns = ["score", "difference", "difference_low", "difference_high"]
    return chosen.assign(**{column: 100 * chosen[column] for column in columns})


def context_table(context: str, study: Study, comparison: Comparison) -> str:
    """Scores of ``none`` and differences of the others, with intervals, as Markdown."""
    lines = [f"Context `{context}`: mIoU of `none` in percent, and differences from it in points", ""]
    lines += ["| variant | seeds | " + " | ".join(SIDES) + " |", "|---|---|" + "---|" * len(SIDES)]
    for name, runs in study.groups.items():
        rows = differences(comparison, name)
        if name == comparison.baseline:
            cells = [f"{score:.1f}" for score in rows["score"]]
        else:
            cells = [interval_text(row) for row in rows.to_dict("records")]
        lines.append(f"| `{name}` | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cost_table(counts: Path) -> list[str]:
    """The table of the costs that ``size_study.py --costs`` measured, if it is there."""
    if not (counts / "costs.csv").is_file():
        return []
    costs = pd.read_csv(counts / "costs.csv").set_index("name")
    base = costs.loc["none"]
    lines = [f"Costs of a batch of {costs['input'].iloc[0]}, {costs['machine'].iloc[0]}; times relative to `none`", ""]
    lines += ["| variant | parameters | multiply-adds, M | prediction | training step |", "|---|---|---|---|---|"]
    for name, row in costs.iterrows():
        times = [f"{row[column] / base[column]:.2f}" for column in ("latency_ms", "step_ms")]
        cells = [f"{row['parameters']:,.0f}", f"{row['multiply_adds'] / 1e6:,.0f}", *times]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return ["\n".join(lines)]


def interval_text(row: Mapping[Any, Any]) -> str:
    """A difference with its interval."""
    return f"{row['difference']:+.1f} ({row['difference_low']:+.1f} to {row['difference_high']:+.1f})"


def decisions(studies: Mapping[str, Study]) -> pd.DataFrame:
    """The hypotheses with their differences in points, adjusted p-values and decisions; not run: NaN."""
    measures = ["difference", "difference_low", "difference_high", "p"]
    rows = []
    for each in yaml.safe_load(HYPOTHESES.read_text()):
        study = studies.get(each["context"])
        if study and {each["variant"], each["other"]} <= set(study.names):
            pair = Study({name: study.groups[name] for name in (each["other"], each["variant"])})
            measured = differences(compare(pair), each["variant"]).loc[each["size"]]
            each |= measured[measures].to_dict()
        rows.append(each)
    claims = ["id", "context", "variant", "other", "size", "expected", "why"]
    table = pd.DataFrame(rows, columns=[*claims, *measures, "adjusted_p"])
    family = table["p"].notna() & (table["expected"] != "equal")
    if family.any():
        table.loc[family, "adjusted_p"] = false_discovery_control(table.loc[family, "p"])
    return table.assign(decision=[decision(row) for row in table.to_dict("records")])


def decision_table(studies: Mapping[str, Study]) -> str:
    """The decisions as Markdown."""
    lines = [
        "| | hypothesis | context, size | from | difference | adjusted p | decision |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in decisions(studies).to_dict("records"):
        claim = (
            f"`{row['variant']}` {row['expected']} {'to' if row['expected'] == 'equal' else 'than'} `{row['other']}`"
        )
        shown = "" if pd.isna(row["p"]) else interval_text(row)
        p = "" if pd.isna(row["adjusted_p"]) else f"{row['adjusted_p']:.3f}"
        place = f"`{row['context']}`, {row['size']}"
        lines.append(f"| {row['id']} | {claim} | {place} | {row['why']} | {shown} | {p} | {row['decision']} |")
    return "\n".join(["### Hypotheses", "", *lines])


def decision(row: Mapping[Any, Any]) -> str:
    """``confirmed``, ``refuted``, ``open``, or ``not run yet``, by the rule of docs/size_study.md."""
    if pd.isna(row["p"]):
        return "not run yet"
    low, high = row["difference_low"], row["difference_high"]
    if row["expected"] == "equal":
        inside, outside = max(-low, high) <= EQUAL, max(low, -high) > EQUAL
        return "confirmed" if inside else "refuted" if outside else "open"
    if row["adjusted_p"] > 0.05:
        return "open"
    return "confirmed" if (row["difference"] > 0) == (row["expected"] == "better") else "refuted"


def figure(comparisons: Mapping[str, Comparison]) -> Figure:
    """Differences from ``none`` by object size with bands: one row per context, one column per variant."""
    known = {name for each in comparisons.values() for name in each.means["name"]} - {"none"}
    names = [name for name in variant_names() if name in known]
    drawn = Figure(figsize=(0.8 + 1.2 * len(names), 0.8 + 1.3 * len(comparisons)), layout="constrained")
    grid = drawn.subplots(len(comparisons), len(names), sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name, fontsize=9)
    for row, (context, comparison) in zip(grid, comparisons.items(), strict=True):
        row[0].set_ylabel(context, fontsize=9)
        for axes, name in zip(row, names, strict=True):
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(SIDES.values()), [str(side) for side in SIDES.values()])
            axes.minorticks_off()
            axes.tick_params(labelsize=8)
            axes.axhline(0, color="#888888", linewidth=1)
            if name in set(comparison.means["name"]):
                rows = differences(comparison, name)
                axes.fill_between(list(SIDES.values()), rows["difference_low"], rows["difference_high"], alpha=0.25)
                axes.plot(list(SIDES.values()), rows["difference"], marker="o", markersize=3)
            else:
                axes.text(0.5, 0.6, "not run", transform=axes.transAxes, ha="center", fontsize=8, color="#888888")
    drawn.supxlabel("side of the objects in pixels", fontsize=9)
    drawn.supylabel("difference of mIoU from none in points,\nby context", fontsize=9)
    return drawn


def power_table(counts: Path) -> str:
    """The smallest differences that are found with a probability of 80 % at the level of 5 %, as Markdown."""
    lines = ["| context | size | images | " + " | ".join(f"{seeds} seeds" for seeds in SEEDS) + " |"]
    lines.append("|---|---|---|" + "---|" * len(SEEDS))
    for context in CONTEXTS:
        table = read_counts(counts, context)
        if table is None or len(pair := count_arrays(table)[:2]) < 2:
            continue
        by_image, by_seed = variances(*pair)
        per_group = table["images"].mean()
        for number, size in enumerate(SIDES):
            for images in IMAGES:
                found = [
                    2.8 * 100 * np.sqrt(by_image[number] * per_group / images + by_seed[number] / seeds)
                    for seeds in SEEDS
                ]
                lines.append(
                    f"| `{context}` | {size} | {images} | " + " | ".join(f"{each:.1f}" for each in found) + " |"
                )
    return "\n".join(lines)


def variances(*counts: np.ndarray, simulations: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Variance of the difference of two variants: by size, times the number of images, and times the number of seeds.

    Images (or groups of images) are resampled. The variance V_k of the difference of means over k runs is v + e / k,
    where e averages out with more seeds: v = (k V_k - V_1) / (k - 1). The variance between seeds on the same images
    contains e.

    Args:
        counts: of two variants, each (run, class, size, (tp, fp, fn), image), with the same number of runs k.
        simulations: number of resamples.
    """
    images = counts[0].shape[-1]
    weights = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=simulations).T
    drawn = mean_iou(counts[1] @ weights) - mean_iou(counts[0] @ weights)  # (run, size, simulation)
    runs = len(drawn)
    of_one, of_mean = drawn.var(axis=-1).mean(axis=0), drawn.mean(axis=0).var(axis=-1)
    by_image = np.clip((runs * of_mean - of_one) / (runs - 1), 0, None) * images
    by_seed = np.sum([mean_iou(each.sum(axis=-1)).var(axis=0, ddof=1) for each in counts], axis=0)
    return by_image, by_seed


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """Mean over the classes of the IoU, from counts (run, class, size, (tp, fp, fn), ...)."""
    iou: np.ndarray = (counts[:, :, :, 0] / counts.sum(axis=3)).mean(axis=1)
    return iou


def count_arrays(table: pd.DataFrame) -> list[np.ndarray]:
    """Counts (run, class, size, (tp, fp, fn), group) of each variant with two seeds, the same number for all."""
    found = []
    for name in variant_names():
        rows = table[table["variant"] == name].sort_values(["seed", "class_id", "side", "group"])
        if rows["seed"].nunique() > 1:
            values = rows[["tp", "fp", "fn"]].to_numpy().reshape(rows["seed"].nunique(), 2, len(SIDES), -1, 3)
            found.append(np.moveaxis(values, -1, 3))
    runs = min((len(each) for each in found), default=0)
    return [each[:runs] for each in found]


if __name__ == "__main__":
    main()
