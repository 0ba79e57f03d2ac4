"""The web page of a comparison: one file that needs no network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from segattn.io.html_page import write_html
from segattn.objects import RecordError
from segattn.report.bootstrap import Comparison
from segattn.report.charts import (
    class_figure,
    confusion_figure,
    curve_figure,
    difference_figure,
    latency_figure,
    lost_figure,
    pooled_figure,
)
from segattn.report.error_tables import kinds_classes, kinds_summary
from segattn.report.found_section import found_classes, found_figures, found_summary
from segattn.report.object_rows import PROPERTIES, property_table, worst_objects
from segattn.report.page_parts import P_VALUES, Exhibit, Table, charts, table
from segattn.report.paper_table import model_note, model_table, model_text, without_costs
from segattn.report.runs import Run, Study
from segattn.report.tables import confusions, size_gaps
from segattn.report.verdicts import listed, verdict, win_tie_loss

WORST_LISTED = 60


def write_page(
    study: Study,
    comparison: Comparison,
    path: Path,
    *,
    galleries: Mapping[str, Sequence[Exhibit]] | None = None,
    missing: str = "",
    costs: pd.DataFrame | None = None,
) -> None:
    """Write the page, with pictures of objects by title, the reason why pictures are ``missing``, and the costs."""
    info = study.info
    names = listed(study.names) if len(study.names) < 4 else f"{len(study.names)} models"
    wins = {"name": "run", "size": "size", "win": "classes better", "tie": "undecided", "loss": "worse"}
    matrix_caption = "share of the pixels of each class (row) by prediction, %"
    content = {
        "title": f"{names} by object size",
        "subtitle": _subtitle(study),
        "verdict": verdict(study, comparison),
        "baseline": comparison.baseline,
        "smallest": info.bucket_names[0],
        "largest": info.bucket_names[-1],
        "conventions": _conventions(study),
        "interval": f"{100 * comparison.level:g} %, from {comparison.resamples} bootstrap resamples of the "
        f"{comparison.groups.count:,} {comparison.groups.what}, the same for all runs, seed {comparison.seed}",
        "scores": _scores(comparison),
        "costs": None if costs is None else _costs(study, comparison, costs),
        "curves": _curves(study, comparison),
        "found": found_summary(comparison),
        "found_figures": found_figures(study, comparison),
        "found_classes": found_classes(comparison, info.bucket_names[0]),
        "kinds": kinds_summary(comparison),
        "kinds_figure": charts({"What each kind of error costs of the mIoU": lost_figure(study, comparison)}),
        "kinds_classes": kinds_classes(study),
        "differences": _differences(study, comparison),
        "wins": table("wins", win_tie_loss(comparison), wins, sortable=False),
        "classes": _classes(comparison),
        "gaps": _gaps(study),
        "matrices": charts({f"{name}: {matrix_caption}": confusion_figure(study, name) for name in study.names}),
        "confusions": table(
            "confusion-table",
            confusions(study, info.bucket_names[0]),
            {"name": "run", "class_name": "class", "other": "predicted as", "share": "share of its pixels, %"},
            percent=["share"],
            filters={"name": ""},
        ),
        "properties": [{"title": which, "table": _property(study, which)} for which in PROPERTIES],
        "worst": _worst(study),
        "runs": [_run(run) for run in study.runs],
        "galleries": galleries or {},
        "missing": missing,
    }
    write_html(path, "report/assets/comparison.html", **content)


def _subtitle(study: Study) -> str:
    extra = study.info.extra
    split = f", split {extra['split']}" if "split" in extra else ""
    data = f"{extra['data']}{split}: " if "data" in extra else ""
    objects = len(study.runs[0].objects)
    unit = "annotated instances" if study.info.unit == "instance" else "8-connected components"
    return f"{data}{len(study.images):,} images with {objects:,} objects ({unit}), {len(study.runs)} runs."


def _conventions(study: Study) -> str:
    info = study.info
    unit = "as a share of the image area" if info.relative else "in pixels"
    bounds = " ≤ ".join(f"{name} < {edge:g}" for name, edge in zip(info.bucket_names, info.edges, strict=False))
    enough = "one object" if info.min_objects == 1 else f"{info.min_objects} objects"
    return (
        f"Scores in percent, with intervals. Sizes {unit}: {bounds} ≤ {info.bucket_names[-1]}. The score of a size is "
        f"the mean over the classes with at least {enough} of that size. Compare runs within a size, not one size with "
        "another: small objects have a lower IoU even if boundaries are equally accurate."
    )


def _scores(comparison: Comparison) -> Table:
    miou, recall = (comparison.means[comparison.means["measure"] == key] for key in ("miou", "mrecall"))
    columns = {"name": "run", "size": "size", "score": "mIoU", "recall": "mean recall"}
    columns |= {"difference": f"mIoU minus {comparison.baseline}", **P_VALUES, "classes": "classes"}
    columns |= {"objects": "objects"}
    return table(
        "score-table",
        miou.merge(recall[["name", "size", "score"]].rename(columns={"score": "recall"}), on=["name", "size"]),
        columns,
        percent=["score", "recall", "difference"],
        sortable=False,
    )


def _costs(study: Study, comparison: Comparison, costs: pd.DataFrame) -> dict[str, Any]:
    models, smallest = model_table(comparison, costs), study.info.bucket_names[0]
    text = model_text(comparison, models)
    figures = {}
    if "latency_ms" in models and models["latency_ms"].notna().any():
        figures[f"mIoU of {smallest} objects against latency, with intervals"] = latency_figure(study, models, smallest)
    notes = [model_note(comparison, models), without_costs(costs, study.names)]
    columns = {title: title for title in text.columns}
    return {
        "table": table("model-table", text, columns, sortable=False),
        "note": " ".join(notes).strip(),
        "figures": charts(figures),
    }


def _curves(study: Study, comparison: Comparison) -> dict[str, Markup]:
    pooled = "by object size: all pixels of a size pooled, and mean over objects"
    return charts(
        {
            "IoU by object size, mean over classes, with intervals": curve_figure(study, comparison),
            "Recall by object size, mean over classes": curve_figure(study, comparison, "mrecall"),
            f"IoU {pooled}": pooled_figure(study),
            f"Recall {pooled}": pooled_figure(study, "recall"),
        }
    )


def _differences(study: Study, comparison: Comparison) -> dict[str, Markup]:
    others = [name for name in study.names if name != comparison.baseline]
    figures = {"Difference of mIoU, with intervals": difference_figure(study, comparison)} if others else {}
    for name in others:
        for size, what in (("all", "all sizes"), (study.info.bucket_names[0], f"{study.info.bucket_names[0]} objects")):
            figures[f"{name}: difference of IoU by class, {what}"] = class_figure(study, comparison, name, size)
    return charts(figures)


def _classes(comparison: Comparison) -> Table:
    return table(
        "class-table",
        comparison.classes,
        {"class_name": "class", "size": "size", "name": "run", "score": "IoU"}
        | {"difference": "difference", **P_VALUES, "adjusted_result": "result", "objects": "objects"},
        percent=["score", "difference"],
        filters={"size": "all", "name": "", "adjusted_result": ""},
    )


def _gaps(study: Study) -> Table:
    smallest, largest = study.info.bucket_names[0], study.info.bucket_names[-1]
    return table(
        "gap-table",
        size_gaps(study),
        {"class_name": "class", "name": "run", smallest: smallest, largest: largest, "gap": "gap"},
        percent=[smallest, largest, "gap"],
        filters={"name": ""},
    )


def _property(study: Study, which: str) -> Table:
    return table(
        f"{which}-table",
        property_table(study, which),
        {"size": "size", "value": PROPERTIES[which][0], "name": "run", "objects": "objects"}
        | {"object_recall": "recall", "object_iou": "IoU"},
        percent=["object_recall", "object_iou"],
        filters={"size": study.info.bucket_names[0], "name": ""},
    )


def _worst(study: Study) -> Table:
    frame = worst_objects(study, study.info.bucket_names[0], WORST_LISTED, per_class=WORST_LISTED)
    frame["place"] = [f"x {row.x0} to {row.x1}, y {row.y0} to {row.y1}" for row in frame.itertuples(index=False)]
    ious = {f"iou {name}": f"IoU of {name}" for name in study.names}
    columns = {"class_name": "class", "image": "image", "place": "place", "size_px": "size, px", **ious}
    return table("worst-table", frame, columns, percent=list(ious))


def _run(run: Run) -> dict[str, Any]:
    extra = dict(run.info.extra)
    packed = extra.pop("environment", "{}")
    try:
        environment = dict(json.loads(packed))
    except (ValueError, TypeError) as error:
        raise RecordError(f"{run.path}: its metadata environment is damaged, got {packed[:80]!r}.") from error
    config = run.path.parent / "config.yaml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    return {"label": run.label, "facts": {"record": str(run.path), **extra, **environment}, "config": text}
