"""Write the figure and the tables of docs/size_study.md from the object records of the study.

    python scripts/size_study_page.py --records runs/controlled

The folder contains one folder of ``size_study.py`` per context. Variants with fewer than two seeds are left out.
``--pilot`` prints the power of a comparison instead, simulated from pilot runs in such folders.
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
from scipy.stats import false_discovery_control, norm

from segattn.objects import read_record
from segattn.report import Comparison, Study, compare, load_runs

ROOT = Path(__file__).parents[1]
HYPOTHESES = ROOT / "scripts" / "studies" / "controlled_hypotheses.yaml"
SIDES = {"side4": 4, "side6": 6, "side9": 9, "side14": 14}
CONTEXTS = ("none", "neighbor", "row", "column", "image")
EQUAL = 1.0  # points


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the results into the page, or print the power."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--records", type=Path, metavar="DIR", help="one folder per context")
    source.add_argument("--pilot", type=Path, metavar="DIR", help="the same, of pilot runs")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "size_study.md", metavar="FILE")
    given = parser.parse_args(arguments)
    if given.pilot:
        print(power_table(given.pilot))
        return
    studies = {name: study for name in CONTEXTS if (study := load_study(given.records / name))}
    if not studies:
        parser.error(f"no variant has records of two seeds in {given.records}/CONTEXT/records/last")
    comparisons = {name: compare(study, baseline="none") for name, study in studies.items()}
    picture = given.page.parent / "images" / "size_study.png"
    figure(comparisons).savefig(picture, dpi=80)
    tables = [context_table(name, studies[name], each) for name, each in comparisons.items()]
    text = "\n\n".join(
        [
            "## Results",
            f"![Difference from none by object size](images/{picture.name})",
            *tables,
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


def record_files(folder: Path) -> dict[str, list[Path]]:
    """The records of each variant in the folder of a context."""
    files: dict[str, list[Path]] = {}
    for path in sorted((folder / "records" / "last").glob("*_seed_*.parquet")):
        files.setdefault(path.stem.rsplit("_seed_", 1)[0], []).append(path)
    return files


def load_study(folder: Path) -> Study | None:
    """The variants of a context with two seeds or more; None without the baseline ``none``."""
    files = {name: paths for name, paths in record_files(folder).items() if len(paths) > 1}
    return load_runs([path for paths in files.values() for path in paths]) if "none" in files else None


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


def interval_text(row: Mapping[str, Any]) -> str:
    """A difference with its interval."""
    return f"{row['difference']:+.1f} ({row['difference_low']:+.1f} to {row['difference_high']:+.1f})"


def decision_table(studies: Mapping[str, Study]) -> str:
    """The hypotheses with their differences, adjusted p-values and decisions, as Markdown."""
    found = []
    for each in yaml.safe_load(HYPOTHESES.read_text()):
        study = studies.get(each["context"])
        known = study is not None and {each["variant"], each["other"]} <= set(study.names)
        row: dict[str, Any] = {}
        if study is not None and known:
            pair = Study({name: study.groups[name] for name in (each["other"], each["variant"])})
            row = differences(compare(pair), each["variant"]).loc[each["size"]].to_dict()
        found.append({**each, **row})
    family = [row for row in found if "p" in row and row["expected"] != "equal"]
    adjusted = false_discovery_control([row["p"] for row in family]) if family else []
    for row, p in zip(family, adjusted, strict=True):
        row["adjusted"] = p
    lines = [
        "| | hypothesis | context, size | from | difference | adjusted p | decision |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        claim = (
            f"`{row['variant']}` {row['expected']} {'to' if row['expected'] == 'equal' else 'than'} `{row['other']}`"
        )
        shown = interval_text(row) if "p" in row else ""
        p = f"{row['adjusted']:.3f}" if "adjusted" in row else ""
        place = f"`{row['context']}`, {row['size']}"
        lines.append(f"| {row['id']} | {claim} | {place} | {row['why']} | {shown} | {p} | {decision(row)} |")
    return "\n".join(["### Hypotheses", "", *lines])


def decision(row: Mapping[str, Any]) -> str:
    """``confirmed``, ``refuted``, ``open``, or ``not run yet``, by the rule of docs/size_study.md."""
    if "p" not in row:
        return "not run yet"
    low, high = row["difference_low"], row["difference_high"]
    if row["expected"] == "equal":
        inside, outside = max(-low, high) <= EQUAL, max(low, -high) > EQUAL
        return "confirmed" if inside else "refuted" if outside else "open"
    if row["adjusted"] > 0.05:
        return "open"
    return "confirmed" if (row["difference"] > 0) == (row["expected"] == "better") else "refuted"


def figure(comparisons: Mapping[str, Comparison]) -> Figure:
    """Differences from ``none`` by object size with bands: one row per context, one column per variant."""
    names = list(dict.fromkeys(name for each in comparisons.values() for name in each.means["name"] if name != "none"))
    drawn = Figure(figsize=(1 + 1.15 * len(names), 0.7 + 1.4 * len(comparisons)), layout="constrained")
    grid = drawn.subplots(len(comparisons), len(names), sharex=True, sharey="row", squeeze=False)
    for row, (context, comparison) in zip(grid, comparisons.items(), strict=True):
        for axes, name in zip(row, names, strict=True):
            axes.axhline(0, color="#888888", linewidth=1)
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(SIDES.values()), [str(side) for side in SIDES.values()])
            axes.minorticks_off()
            axes.tick_params(labelsize=8)
            if row is grid[0]:
                axes.set_title(name, fontsize=8)
            if name in set(comparison.means["name"]):
                rows = differences(comparison, name)
                axes.fill_between(list(SIDES.values()), rows["difference_low"], rows["difference_high"], alpha=0.25)
                axes.plot(list(SIDES.values()), rows["difference"], marker="o", markersize=3)
        row[0].set_ylabel(context)
    drawn.supxlabel("object size, side in pixels", fontsize=9)
    drawn.supylabel("mIoU minus that of none, points, by context", fontsize=9)
    return drawn


def power_table(root: Path, *, points: float = 1.0) -> str:
    """Simulated power to find a difference of some points at the level of 5 %, by context, size, images and seeds.

    A simulated comparison draws images, and for both variants n seeds of their pilot runs, whose deviations from the
    mean of a variant are enlarged by sqrt(k / (k - 1)) for k pilot runs. The standard deviation of the differences over
    simulations gives the power.
    """
    lines = ["| context | size | images | 10 seeds | 20 seeds | 40 seeds | difference found with 10 seeds |"]
    lines.append("|---|---|---|---|---|---|---|")
    for context in CONTEXTS:
        pilots = [paths for paths in record_files(root / context).values() if len(paths) > 1][:2]
        if len(pilots) < 2:
            continue
        counts = [np.stack([image_counts(path) for path in paths]) for paths in pilots]
        for number, size in enumerate(SIDES):
            for images in (100, 200, 400):
                deviations = {
                    seeds: simulated_deviation([each[:, :, number] for each in counts], seeds, images)
                    for seeds in (10, 20, 40)
                }
                powers = [norm.cdf(points / value - 1.96) for value in deviations.values()]
                found = (1.96 + 0.84) * deviations[10]
                cells = " | ".join(f"{100 * power:.0f} %" for power in powers)
                lines.append(f"| `{context}` | {size} | {images} | {cells} | {found:.1f} points |")
    return "\n".join(lines)


def image_counts(path: Path) -> np.ndarray:
    """Counts (class, size, (tp, fp, fn), image) of the classes ``a`` and ``b`` in a record."""
    record = read_record(path, ["image", "class_id", "size_px", "tp", "fp", "fn"])
    rows = record.rows[record.rows["class_id"] > 0]
    images = pd.factorize(record.rows["image"], sort=True)[0][record.rows["class_id"] > 0]
    sizes = np.searchsorted(record.info.edges, rows["size_px"], side="right")
    counts = np.zeros((2, len(record.info.edges) + 1, 3, images.max() + 1))
    for number, column in enumerate(("tp", "fp", "fn")):
        np.add.at(counts, (rows["class_id"] - 1, sizes, number, images), rows[column])
    return counts


def simulated_deviation(counts: Sequence[np.ndarray], seeds: int, images: int, simulations: int = 1000) -> float:
    """Standard deviation in points of the difference of two variants, from counts (run, class, (tp, fp, fn), image)."""
    generator = np.random.default_rng(0)
    known = counts[0].shape[-1]
    weights = generator.multinomial(images, np.full(known, 1 / known), size=simulations).T
    means = []
    for each in counts:
        summed = each @ weights
        scores = (summed[:, :, 0] / summed.sum(axis=2)).mean(axis=1)  # (run, simulation)
        deviations = (scores - scores.mean(axis=0)) * np.sqrt(len(scores) / (len(scores) - 1))
        drawn = generator.integers(len(scores), size=(seeds, simulations))
        means.append(scores.mean(axis=0) + np.take_along_axis(deviations, drawn, axis=0).mean(axis=0))
    return 100 * float(np.std(means[1] - means[0]))


if __name__ == "__main__":
    main()
