"""Scores from counts, defined as in ``segattn.metrics``, for any number of resampled data sets at once.

Counts have the shape (classes, fine bins, 7, resamples) with :data:`COUNTS`; objects (classes, fine bins, resamples).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse
from jaxtyping import Bool, Float

from segattn.objects.found import FOUND_RECALL, is_false_alarm, is_found
from segattn.objects.record_files import RecordInfo
from segattn.objects.size_bins import bucket_cuts, fine_edges, pixel_edges
from segattn.report.runs import Run

Array = npt.NDArray[Any]

COUNTS = ("tp", "fp", "fn", "found", "false_alarms", "boundary", "segment")
"""What is counted: pixels, objects found, false alarms, and the false pixels (fp and fn) of two kinds."""

FOUND_MEASURES = ("found", "found_precision", "found_f1", "false_alarms")
"""The scores of objects found; false alarms are per image and better if lower."""


KINDS = ("boundary", "extent", "segment")
"""The kinds of errors; ``lost_KIND`` is the mIoU that errors of this kind cost."""

LOWER_IS_BETTER = ("false_alarms", *(f"lost_{kind}" for kind in KINDS))


@dataclass(frozen=True)
class Scores:
    """Scores as fractions of 1; nan where nothing can be scored.

    The means of a bucket or of a fine bin (``curve_``) are over the classes with enough objects in it.
    """

    miou: Float[np.ndarray, "..."]  # of the classes that are present or predicted
    mean_accuracy: Float[np.ndarray, "..."]  # recall of the classes that are present
    pixel_accuracy: Float[np.ndarray, "..."]
    iou: Float[np.ndarray, "classes ..."]
    recall: Float[np.ndarray, "classes ..."]
    bucket_iou: Float[np.ndarray, "classes buckets ..."]
    bucket_recall: Float[np.ndarray, "classes buckets ..."]
    bucket_miou: Float[np.ndarray, "buckets ..."]
    bucket_mrecall: Float[np.ndarray, "buckets ..."]
    curve_miou: Float[np.ndarray, "bins ..."]
    curve_mrecall: Float[np.ndarray, "bins ..."]
    curve_found: Float[np.ndarray, "bins ..."]
    # Of all sizes together, then of each bucket:
    found: Float[np.ndarray, "sizes ..."]
    found_precision: Float[np.ndarray, "sizes ..."]
    found_f1: Float[np.ndarray, "sizes ..."]
    false_alarms: Float[np.ndarray, "sizes ..."]  # of all classes, per image
    lost_boundary: Float[np.ndarray, "sizes ..."]  # with the mIoU, the three sum to 1
    lost_extent: Float[np.ndarray, "sizes ..."]
    lost_segment: Float[np.ndarray, "sizes ..."]
    class_found: Float[np.ndarray, "classes sizes ..."]
    class_found_precision: Float[np.ndarray, "classes sizes ..."]
    class_found_f1: Float[np.ndarray, "classes sizes ..."]
    class_false_alarms: Float[np.ndarray, "classes sizes ..."]

    @classmethod
    def combine(cls, parts: Sequence["Scores"], function: Callable[[list[Array]], Array]) -> "Scores":
        """Apply a function to the values that each part has for a score."""
        return cls(**{field.name: function([getattr(part, field.name) for part in parts]) for field in fields(cls)})


class Bins:
    """Fine bins and buckets of a record, and the classes that count in each.

    ``objects`` is the number of ground-truth objects (classes, bins) in all images.
    """

    def __init__(self, info: RecordInfo, objects: Array) -> None:
        self.edges = fine_edges(info.edges, relative=info.relative)
        self._cuts = bucket_cuts(info.edges, relative=info.relative)
        self.objects = objects
        self.bucket_objects = self.to_buckets(objects)
        self.supported: Bool[np.ndarray, "classes bins"] = objects >= info.min_objects
        self.bucket_supported: Bool[np.ndarray, "classes buckets"] = self.bucket_objects >= info.min_objects
        self.size_supported: Bool[np.ndarray, "classes sizes"] = with_total(self.bucket_objects) >= info.min_objects

    def to_buckets(self, counts: Array) -> Array:
        """Sum fine bins to buckets, on the second axis."""
        return np.add.reduceat(counts, self._cuts[:-1], axis=1)


def row_bins(run: Run) -> npt.NDArray[np.int64]:
    """The fine bin of every row of a run."""
    rows, relative = run.rows, run.info.relative
    edges, size = fine_edges(run.info.edges, relative=relative), rows["size_px"].to_numpy()
    if not relative:
        return np.searchsorted(pixel_edges(edges, 1, 1, relative=False), size, side="right")
    bins = np.zeros(len(rows), dtype=np.int64)
    groups: Any = rows.groupby(["height", "width"]).indices
    for (height, width), chosen in groups.items():
        bins[chosen] = np.searchsorted(
            pixel_edges(edges, int(height), int(width), relative=True), size[chosen], "right"
        )
    return bins


def row_buckets(run: Run) -> npt.NDArray[np.int64]:
    """The bucket of every row of a run."""
    cuts = bucket_cuts(run.info.edges, relative=run.info.relative)
    return np.searchsorted(cuts, row_bins(run), side="right") - 1


def count_cells(run: Run, recall: float = FOUND_RECALL) -> scipy.sparse.csr_array:
    """The counts of every image: (classes * fine bins * 7, images), sparse, float64 (sums of integers are exact)."""
    cell, image, (cells, images) = _cells(run)
    tp, fp, fn, size = (run.rows[name].to_numpy() for name in ("tp", "fp", "fn", "size_px"))
    counts = [tp, fp, fn, is_found(tp, size, recall), is_false_alarm(tp, fp, size), *false_pixels(run.rows)]
    values = np.stack(counts, axis=1).astype(np.float64)
    row, count = values.nonzero()
    places = (cell[row] * len(COUNTS) + count, image[row])
    return scipy.sparse.coo_array((values[row, count], places), shape=(cells * len(COUNTS), images)).tocsr()


def false_pixels(rows: pd.DataFrame) -> tuple[Array, Array]:
    """The boundary errors and the segment errors of each row, false positives and false negatives together."""
    tp, fp, fn, size = (rows[name].to_numpy() for name in ("tp", "fp", "fn", "size_px"))
    boundary = (rows["fp_boundary"] + rows["fn_boundary"]).to_numpy()
    return boundary, fp * is_false_alarm(tp, fp, size) + fn * (tp == 0)


def object_cells(run: Run) -> scipy.sparse.csr_array:
    """The number of ground-truth objects of every image: (classes * fine bins, images), sparse, float64."""
    cell, image, shape = _cells(run)
    chosen = (run.rows["kind"] == "object").to_numpy()
    return scipy.sparse.coo_array((np.ones(chosen.sum()), (cell[chosen], image[chosen])), shape=shape).tocsr()


def _cells(run: Run) -> tuple[Array, Array, tuple[int, int]]:
    """The cell (class and fine bin) and the image of every row, and the numbers of cells and of images."""
    bins = len(fine_edges(run.info.edges, relative=run.info.relative)) + 1
    cell = run.rows["class_id"].to_numpy().astype(np.int64) * bins + row_bins(run)
    images = run.rows["image"].cat
    return cell, images.codes.to_numpy(), (len(run.info.class_names) * bins, len(images.categories))


def score(counts: Array, objects: Array, images: Array, bins: Bins) -> Scores:
    """Compute all scores from counts and numbers of ground-truth objects in the same images.

    ``images`` is the number of images, (resamples,). ``bins`` selects the classes of each mean; classes without an
    object in the resampled images are left out too.
    """
    total = counts.sum(axis=1, keepdims=True)
    tp, fn = total[:, 0, 0], total[:, 0, 2]
    iou, recall = (values[:, 0] for values in _iou_and_recall(total))
    bucket_iou, bucket_recall = _iou_and_recall(bins.to_buckets(counts))
    in_bucket = bins.bucket_supported[..., None] & (bins.to_buckets(objects) > 0)
    curve_iou, curve_recall = _iou_and_recall(counts)
    in_bin = bins.supported[..., None] & (objects > 0)
    return Scores(
        miou=known_mean(iou),
        mean_accuracy=known_mean(recall),
        pixel_accuracy=divide(tp.sum(0), (tp + fn).sum(0)),
        iou=iou,
        recall=recall,
        bucket_iou=bucket_iou,
        bucket_recall=bucket_recall,
        bucket_miou=known_mean(bucket_iou, in_bucket),
        bucket_mrecall=known_mean(bucket_recall, in_bucket),
        curve_miou=known_mean(curve_iou, in_bin),
        curve_mrecall=known_mean(curve_recall, in_bin),
        curve_found=known_mean(divide(counts[:, :, 3], objects), in_bin),
        **_found_scores(bins.to_buckets(counts[:, :, 3:5]), bins.to_buckets(objects), images, bins),
        **_lost_scores(with_total(bins.to_buckets(counts)), in_bucket),
    )


def kind_pixels(counts: Array) -> dict[str, Array]:
    """The false pixels (fp and fn) by kind, from counts with :data:`COUNTS` on the third axis."""
    _, fp, fn, _, _, boundary, segment = np.moveaxis(counts, 2, 0)
    return dict(zip(KINDS, (boundary, fp + fn - boundary - segment, segment), strict=True))


def _lost_scores(counts: Array, in_bucket: Array) -> dict[str, Array]:
    """What each kind of error costs of the mIoU, from the counts of all sizes together and of each bucket."""
    union = counts[:, :, :3].sum(axis=2)
    counted = np.concatenate([np.ones_like(in_bucket[:, :1]), in_bucket], axis=1)
    kinds = kind_pixels(counts)
    return {f"lost_{kind}": known_mean(divide(pixels, union), counted) for kind, pixels in kinds.items()}


def _found_scores(counts: Array, objects: Array, images: Array, bins: Bins) -> dict[str, Array]:
    """The scores of objects found, from the counts of all buckets."""
    objects, found, alarms = (with_total(values) for values in (objects, counts[:, :, 0], counts[:, :, 1]))
    of_class = {
        "found": divide(found, objects),
        "found_precision": divide(found, found + alarms),
        "found_f1": divide(2 * found, objects + found + alarms),
    }
    supported = bins.size_supported[..., None] & (objects > 0)
    return {
        **{f"class_{measure}": values for measure, values in of_class.items()},
        **{measure: known_mean(values, supported) for measure, values in of_class.items()},
        "class_false_alarms": alarms / images,
        "false_alarms": alarms.sum(0) / images,
    }


def run_scores(run: Run, recall: float = FOUND_RECALL) -> tuple[Scores, Bins]:
    """Compute the scores of a run, equal to those logged when the record was written.

    An object is found if its recall is above ``recall``.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> scores, bins = report.run_scores(study.runs[0], recall=0.75)
        >>> scores.bucket_miou.shape, bins.bucket_objects.shape  # (buckets,), (classes, buckets)
        ((3,), (7, 3))
    """
    classes = len(run.info.class_names)
    objects = object_cells(run).sum(axis=1).reshape(classes, -1)
    bins = Bins(run.info, objects)
    counts = count_cells(run, recall).sum(axis=1).reshape(classes, -1, len(COUNTS))
    images = np.array([len(run.rows["image"].cat.categories)])
    scores = score(counts[..., None], objects[..., None], images, bins)
    return Scores.combine([scores], lambda values: values[0][..., 0]), bins


def counted(objects: Array, supported: Array) -> dict[str, Array]:
    """The numbers of classes in a mean and of their objects, by size, from the objects (classes, sizes)."""
    return {"classes": supported.sum(0), "objects": (objects * supported).sum(0)}


def with_total(counts: Array) -> Array:
    """Counts (classes, buckets, ...) with the sum over all buckets in front of the buckets."""
    return np.concatenate([counts.sum(axis=1, keepdims=True), counts], axis=1)


def _iou_and_recall(counts: Array) -> tuple[Array, Array]:
    tp, fp, fn = counts[:, :, 0], counts[:, :, 1], counts[:, :, 2]
    return divide(tp, tp + fp + fn), divide(tp, tp + fn)


def divide(part: Array, whole: Array) -> Array:
    """Divide; nan where ``whole`` is 0."""
    quotient = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient


def known_mean(values: Array, weights: Array | int = 1, *, axis: int = 0) -> Array:
    """Weighted mean over an axis, without the values that are nan; nan where no value has a weight."""
    weights = np.where(np.isnan(values), 0, weights)
    return divide((weights * np.nan_to_num(values)).sum(axis), weights.sum(axis))
