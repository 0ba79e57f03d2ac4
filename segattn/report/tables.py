"""Tables of a study: scores by size and class, curves, gaps between sizes, and confusions."""

from typing import Any

import numpy as np
import pandas as pd

from segattn.objects.size_bins import fine_edges
from segattn.report.runs import Run, Study
from segattn.report.scores import Array, counted, divide, known_mean, row_bins, row_buckets, run_scores


def size_table(study: Study) -> pd.DataFrame:
    """Scores by ``name`` and ``size`` (``all`` and the buckets), in fractions of 1.

    ``miou`` and ``recall`` are means over the runs of a name, ``miou_std`` and ``recall_std`` their standard deviations
    (nan for one run). ``classes`` and ``objects`` are the numbers of classes and objects that were scored.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> list(report.size_table(study).columns)
        ['name', 'runs', 'size', 'miou', 'miou_std', 'recall', 'recall_std', 'classes', 'objects']
    """
    parts = []
    for name, runs in study.groups.items():
        scored, (bins, *_) = zip(*(run_scores(run) for run in runs), strict=True)
        part: dict[str, Any] = {"name": name, "runs": len(runs), "size": ["all", *study.info.bucket_names]}
        miou = [[scores.miou, *scores.bucket_miou] for scores in scored]
        recall = [[scores.mean_accuracy, *scores.bucket_mrecall] for scores in scored]
        for key, values in (("miou", miou), ("recall", recall)):
            part[key] = np.mean(values, axis=0)
            part[f"{key}_std"] = np.std(values, axis=0, ddof=1) if len(runs) > 1 else np.nan
        by_bucket = counted(bins.bucket_objects, bins.bucket_supported)
        part["classes"] = [(bins.objects.sum(1) > 0).sum(), *by_bucket["classes"]]
        part["objects"] = [int(bins.objects.sum()), *by_bucket["objects"].astype(int)]
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def class_table(study: Study) -> pd.DataFrame:
    """IoU and recall by ``name``, ``class_name`` and ``size`` (``all`` and the buckets), averaged over runs.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> list(report.class_table(study).columns)
        ['name', 'class_name', 'size', 'iou', 'recall', 'objects']
    """
    sizes, names = ["all", *study.info.bucket_names], study.info.class_names
    parts = []
    for name, runs in study.groups.items():
        scored, (bins, *_) = zip(*(run_scores(run) for run in runs), strict=True)
        iou = known_mean(np.stack([np.column_stack([scores.iou, scores.bucket_iou]) for scores in scored]))
        recall = known_mean(np.stack([np.column_stack([scores.recall, scores.bucket_recall]) for scores in scored]))
        objects = np.column_stack([bins.objects.sum(1), bins.bucket_objects]).astype(int)
        part = {"name": name, "class_name": np.repeat(names, len(sizes)), "size": np.tile(sizes, len(names))}
        part |= {"iou": iou.ravel(), "recall": recall.ravel(), "objects": objects.ravel()}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def size_gaps(study: Study) -> pd.DataFrame:
    """Recall in the smallest and the largest bucket and their difference ``gap``, by ``name`` and ``class_name``.

    Recall does not depend on the size that false positives get. Classes without objects in either bucket are left out.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> list(report.size_gaps(study).columns)
        ['name', 'class_name', 'small', 'large', 'gap']
    """
    smallest, largest = study.info.bucket_names[0], study.info.bucket_names[-1]
    table = class_table(study)
    wide = table.pivot(index=["name", "class_name"], columns="size", values="recall")[[smallest, largest]]
    wide = wide.dropna().assign(gap=wide[largest] - wide[smallest]).reset_index()
    return wide.rename_axis(columns=None).sort_values(["name", "gap"], ascending=[True, False], ignore_index=True)


def curves(study: Study) -> pd.DataFrame:
    """Scores by ``name`` and fine bin (``low_edge`` to ``high_edge``).

    ``miou`` is the mean over classes. ``pooled_iou`` and ``pooled_recall`` sum the counts of all classes first.
    ``object_iou`` and ``object_recall`` are means over objects, each with the same weight.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> list(report.curves(study).columns)
        ['name', 'low_edge', 'high_edge', 'miou', 'pooled_iou', 'object_iou', 'mrecall',
         'pooled_recall', 'object_recall', 'objects']
    """
    edges = [0, *fine_edges(study.info.edges, relative=study.info.relative), np.inf]
    parts = []
    for name, runs in study.groups.items():
        values = [_curve(run, len(edges) - 1) for run in runs]
        mean = {key: known_mean(np.stack([value[key] for value in values]).astype(float)) for key in values[0]}
        parts.append(pd.DataFrame({"name": name, "low_edge": edges[:-1], "high_edge": edges[1:], **mean}))
    return pd.concat(parts, ignore_index=True)


def confusion_matrix(study: Study, name: str, size: str | None = None) -> pd.DataFrame:
    """Count the pixels of every class (rows) by predicted class (columns), summed over the runs of a name.

    With a ``size``, only pixels of objects in this bucket are counted.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> report.confusion_matrix(study, "quickstart", size="small").shape
        (7, 7)
    """
    classes = list(study.info.class_names)
    matrix = np.zeros((len(classes), len(classes)))
    for run in study.groups[name]:
        chosen = (run.rows["kind"] == "object").to_numpy()
        if size is not None:
            chosen = chosen & (row_buckets(run) == study.info.bucket_names.index(size))
        own = run.rows["class_id"].to_numpy()
        np.add.at(matrix, (own[chosen], own[chosen]), run.rows["tp"].to_numpy()[chosen])
        lines = run.confusions[chosen[run.confusions["row"].to_numpy()]]
        np.add.at(matrix, (own[lines["row"]], lines["other"].to_numpy()), lines["px"].to_numpy())
    return pd.DataFrame(matrix.astype(np.int64), index=classes, columns=classes)


def confusions(study: Study, size: str | None = None, *, top: int = 3) -> pd.DataFrame:
    """The classes that objects (of one size, or all) are confused with, by ``name`` and ``class_name``.

    Of each class: the ``top`` predicted classes ``other``, and the ``share`` of its pixels predicted as such.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> list(report.confusions(study, "small").columns)
        ['name', 'class_name', 'other', 'share']
    """
    parts = []
    for name in study.names:
        matrix = confusion_matrix(study, name, size).to_numpy()
        share = np.nan_to_num(divide(matrix, np.broadcast_to(matrix.sum(1, keepdims=True), matrix.shape)))
        np.fill_diagonal(share, 0)
        most = np.argsort(-share, axis=1, kind="stable")[:, :top]
        names = np.array(study.info.class_names)
        part = {"name": name, "class_name": np.repeat(names, most.shape[1]), "other": names[most].ravel()}
        parts.append(pd.DataFrame({**part, "share": np.take_along_axis(share, most, axis=1).ravel()}))
    table = pd.concat(parts, ignore_index=True)
    return table[table["share"] > 0].reset_index(drop=True)


def _curve(run: Run, bins: int) -> dict[str, Array]:
    scores, _ = run_scores(run)
    of_row, rows = row_bins(run), run.rows
    tp, fp, fn = (np.bincount(of_row, weights=rows[key], minlength=bins) for key in ("tp", "fp", "fn"))
    chosen = (rows["kind"] == "object").to_numpy()
    binned, found = of_row[chosen], rows[chosen]
    objects = np.bincount(binned, minlength=bins)
    iou, recall = (np.bincount(binned, weights=found[key], minlength=bins) for key in ("iou", "recall"))
    return {
        "miou": scores.curve_miou,
        "pooled_iou": divide(tp, tp + fp + fn),
        "object_iou": divide(iou, objects),
        "mrecall": scores.curve_mrecall,
        "pooled_recall": divide(tp, tp + fn),
        "object_recall": divide(recall, objects),
        "objects": objects,
    }
