"""The web page of a study: one file that opens anywhere, without a network."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from segattn import __version__
from segattn.report import charts
from segattn.report.bootstrap import Comparison
from segattn.report.markup import Chart, Exhibit, Table, chart, table
from segattn.report.object_rows import PROPERTIES, property_table, worst_objects
from segattn.report.runs import Run, Study
from segattn.report.tables import confusions, size_gaps
from segattn.report.verdict import verdict, win_tie_loss

WORST_LISTED = 60
_ASSETS = files("segattn.report") / "assets"


def write_page(
    study: Study,
    comparison: Comparison,
    path: Path,
    *,
    galleries: Mapping[str, Sequence[Exhibit]] | None = None,
    absent: str = "",
) -> None:
    """Write the page.

    Args:
        study: the runs.
        comparison: of these runs.
        path: the file; its folder is created.
        galleries: objects in pictures, by title.
        absent: why there are no pictures, or fewer than one could expect.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(_asset("page.html"))
    shown = [{"title": title, "exhibits": exhibits} for title, exhibits in (galleries or {}).items()]
    html = template.render(_content(study, comparison), galleries=shown, absent=absent)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html, encoding="utf-8")


def _content(study: Study, comparison: Comparison) -> dict[str, Any]:
    info = study.info
    names = " and ".join(study.names) if len(study.names) < 4 else f"{len(study.names)} models"
    return {
        "title": f"{names}, by object size",
        "subtitle": _subtitle(study),
        "style": Markup(_asset("page.css")),  # our own file
        "script": Markup(_asset("page.js")),  # our own file
        "verdict": verdict(study, comparison),
        "baseline": comparison.baseline,
        "smallest": info.bucket_names[0],
        "largest": info.bucket_names[-1],
        "conventions": _conventions(study),
        "version": __version__,
        "interval": f"{100 * comparison.level:g} %, from {comparison.resamples} bootstrap resamples of the images, the "
        f"same for all runs, seed {comparison.seed}",
        "scores": _scores(comparison),
        "curves": _curves(study, comparison),
        "differences": _differences(study, comparison),
        "wins": table(
            "wins",
            win_tie_loss(comparison),
            {"name": "run", "size": "size", "win": "classes won", "tie": "undecided", "loss": "lost"},
            sortable=False,
        ),
        "classes": _classes(comparison),
        "gaps": _gaps(study),
        "matrices": [
            chart(charts.confusion_figure(study, name), f"{name}: share of a class's pixels (row) by prediction, %")
            for name in study.names
        ],
        "confusions": table(
            "confusion-table",
            confusions(study, info.bucket_names[0]),
            {"name": "run", "class_name": "class", "other": "taken for", "share": "share of its pixels, %"},
            percent=["share"],
            filters={"name": ""},
        ),
        "properties": [_property(study, which) for which in PROPERTIES],
        "worst": _worst(study),
        "runs": [_run(run) for run in study.runs],
    }


def _subtitle(study: Study) -> str:
    extra = study.info.extra
    of = f"{extra['data']}, split {extra.get('split', 'unknown')}: " if "data" in extra else ""
    objects = len(study.runs[0].objects)
    unit = "annotated instances" if study.info.unit == "instance" else "8-connected components"
    return f"{of}{len(study.images):,} images with {objects:,} objects ({unit}), {len(study.runs)} runs."


def _conventions(study: Study) -> str:
    info = study.info
    unit = "of the image's area" if info.relative else "pixels"
    bounds = " ≤ ".join(f"{name} < {edge:g}" for name, edge in zip(info.bucket_names, info.edges, strict=False))
    enough = "one object" if info.min_objects == 1 else f"{info.min_objects} objects"
    return (
        f"In percent, with intervals. Sizes in {unit}: {bounds} ≤ {info.bucket_names[-1]}. A size averages the classes "
        f"with at least {enough} in it. Compare runs within a size, not sizes with each other: "
        "IoU falls with size even for equally good boundaries."
    )


def _scores(comparison: Comparison) -> Table:
    wide = comparison.means[comparison.means["measure"] == "miou"].drop(columns="measure")
    recall = comparison.means[comparison.means["measure"] == "mrecall"][["name", "size", "score"]]
    wide = wide.merge(recall.rename(columns={"score": "recall"}), on=["name", "size"])
    return table(
        "score-table",
        wide.rename(columns={"low": "score_low", "high": "score_high"}),
        {
            **{"name": "run", "size": "size", "score": "mIoU", "recall": "mean recall"},
            **{"difference": f"mIoU minus {comparison.baseline}", "classes": "classes", "objects": "objects"},
        },
        percent=["score", "recall", "difference"],
        signed=["difference"],
        sortable=False,
    )


def _curves(study: Study, comparison: Comparison) -> list[Chart]:
    return [
        chart(charts.curve_figure(study, comparison), "IoU against object size, mean over classes, with intervals"),
        chart(charts.curve_figure(study, comparison, "mrecall"), "Recall against object size, mean over classes"),
        chart(charts.pooled_figure(study), "IoU against object size: all pixels of a size, and the mean over objects"),
        chart(charts.pooled_figure(study, "recall"), "Recall against object size, likewise"),
    ]


def _differences(study: Study, comparison: Comparison) -> list[Chart]:
    others = [name for name in study.names if name != comparison.baseline]
    if not others:
        return []
    figures = [chart(charts.difference_figure(study, comparison), "Difference of mIoU, with intervals")]
    for name in others:
        for size in ("all", study.info.bucket_names[0]):
            caption = f"{name}: difference of every class's IoU, {'all sizes' if size == 'all' else f'{size} objects'}"
            figures.append(chart(charts.class_figure(study, comparison, name, size), caption))
    return figures


def _classes(comparison: Comparison) -> Table:
    return table(
        "class-table",
        comparison.classes.rename(columns={"low": "score_low", "high": "score_high"}),
        {
            **{"class_name": "class", "size": "size", "name": "run", "score": "IoU", "difference": "difference"},
            **{"result": "result", "objects": "objects"},
        },
        percent=["score", "difference"],
        signed=["difference"],
        filters={"size": "all", "name": "", "result": ""},
        hint="class",
    )


def _gaps(study: Study) -> Table:
    smallest, largest = study.info.bucket_names[0], study.info.bucket_names[-1]
    return table(
        "gap-table",
        size_gaps(study),
        {"class_name": "class", "name": "run", smallest: smallest, largest: largest, "gap": "gap"},
        percent=[smallest, largest, "gap"],
        filters={"name": ""},
        hint="class",
    )


def _property(study: Study, which: str) -> dict[str, Any]:
    shown = table(
        f"{which}-table",
        property_table(study, which),
        {
            **{"size": "size", "value": PROPERTIES[which][0], "name": "run", "objects": "objects"},
            **{"object_recall": "recall", "object_iou": "IoU"},
        },
        percent=["object_recall", "object_iou"],
        filters={"size": study.info.bucket_names[0], "name": ""},
    )
    return {"title": which, "table": shown}


def _worst(study: Study) -> Table:
    frame = worst_objects(study, study.info.bucket_names[0], WORST_LISTED, per_class=WORST_LISTED)
    frame["place"] = [f"x {row.x0} to {row.x1}, y {row.y0} to {row.y1}" for row in frame.itertuples(index=False)]
    ious = {f"iou {name}": f"IoU of {name}" for name in study.names}
    columns = {"class_name": "class", "image": "image", "place": "place", "size_px": "size, px", **ious}
    return table("worst-table", frame, columns, percent=list(ious), hint="class or file")


def _run(run: Run) -> dict[str, Any]:
    extra = dict(run.info.extra)
    environment = json.loads(extra.pop("environment", "{}"))
    config = run.path.parent / "config.yaml"
    facts = {"record": str(run.path), **extra, **environment}
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    return {"label": run.label, "facts": list(facts.items()), "config": text}


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
