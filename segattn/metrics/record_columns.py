"""The object record of one image: the rows of its attribution with all columns of the record.

Parts of the image (objects and free-standing false positives) are given as maps of numbers from 1, where 0 is no part.
Everything outside the image counts as outside of each part.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import edt
import numpy as np
from jaxtyping import Integer
from torch import Tensor

from segattn.metrics.attribution import Attribution, attribute
from segattn.metrics.error_kinds import error_kinds
from segattn.objects.ground_truth import Array, runs, sum_by, target_objects


def object_rows(  # noqa: PLR0917 - published signature
    prediction: Integer[Tensor, "..."] | Array,
    target: Integer[Tensor, "..."] | Array,
    num_classes: int,
    ignore_index: int = 255,
    instances: Integer[Tensor, "..."] | Array | None = None,
    *,
    image: str = "",
    class_names: Sequence[str] | None = None,
) -> dict[str, Array]:
    """All rows of one image with every column of the object record; maps as arrays or CPU tensors.

    Args:
        prediction: class indices, shape (height, width). Values at ignored pixels have no effect.
        target: class indices or ``ignore_index``, same shape.
        num_classes: number of classes.
        ignore_index: value of ignored pixels.
        instances: instance ids, same shape, if the data set has them.
        image: name of the image.
        class_names: names by index; None uses the indices.

    Returns:
        Columns in the order of :data:`segattn.objects.COLUMNS`, where each is explained, with one value per row: the
        objects in row-major order of their first pixels, then the free-standing false positives.
    """
    ids = None if instances is None else np.asarray(instances)
    objects = target_objects(np.asarray(target), num_classes, ignore_index=ignore_index, instances=ids)
    names = [str(index) for index in range(num_classes)] if class_names is None else class_names
    return record_columns(attribute(np.asarray(prediction), objects, num_classes), image=image, class_names=names)


def record_columns(rows: Attribution, *, image: str, class_names: Sequence[str]) -> dict[str, Array]:
    """All columns of the object record for the rows of one image, as returned by :func:`object_rows`."""
    objects, regions = rows.objects, rows.regions
    height, width = objects.labels.shape
    number, first_false = len(rows.size), len(objects.size) - 1
    merged = np.zeros(number + 1, dtype=bool)
    merged[objects.labels[regions.hit & regions.shared[regions.labels]]] = True
    # Objects and free-standing false positives overlap, so each kind has its own map of numbers.
    parts = [
        _shape_columns(labels, rows.class_id[own], compared, ignored=objects.classes == 0)
        for labels, own, compared in (
            (objects.labels, slice(first_false), regions.classes),
            (_false_positive_labels(rows), slice(first_false, None), objects.classes),
        )
    ]
    both = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    box = {name: both.pop(name) for name in ("y0", "x0", "y1", "x1")}
    confused = {name: both.pop(name) for name in ("top_confusion", "confused_class", "confused_px")}
    return {
        "image": np.full(number, image, dtype=object),
        "height": np.full(number, height),
        "width": np.full(number, width),
        "class_id": rows.class_id,
        "class_name": np.array(class_names, dtype=object)[rows.class_id],
        "kind": np.where(np.arange(number) < first_false, "object", "false_positive").astype(object),
        "size_px": rows.size,
        **box,
        "tp": rows.tp,
        "fp": rows.fp,
        "fn": rows.fn,
        **error_kinds(rows),
        "recall": rows.tp / rows.size,
        "iou": rows.tp / (rows.size + rows.fp),
        "boundary_px": both["boundary_px"],
        "max_width_px": both["max_width_px"],
        "elongation": rows.size / both["max_width_px"] ** 2,
        "touches_border": (box["y0"] == 0) | (box["x0"] == 0) | (box["y1"] == height) | (box["x1"] == width),
        "touches_ignore": both["touches_ignore"],
        "merged": merged[1:],
        **confused,
    }


def _false_positive_labels(rows: Attribution) -> Array:
    """Map of the free-standing false positives, numbered from 1 in the order of their rows."""
    regions, contested = rows.regions, rows.contested
    region, owner = (values[rows.region > 0] for values in (rows.region, rows.owner))
    number = np.arange(1, len(region) + 1, dtype=np.uint32)
    # 1. Regions with one row: all pixels that are not true positives.
    shared = regions.shared[region]
    number_of = np.zeros(len(regions.owner), dtype=np.uint32)
    number_of[region[~shared]] = number[~shared]
    labels = np.where(regions.hit, 0, number_of[regions.labels])
    # 2. Shared regions: the pieces whose owner left an excess.
    if contested is not None and shared.any():
        pairs = zip(region[shared].tolist(), owner[shared].tolist(), strict=True)
        number_of_pair = dict(zip(pairs, number[shared], strict=True))
        pieces = zip(contested.region.tolist(), contested.owner.tolist(), strict=True)
        piece_number = np.array([number_of_pair.get(piece, 0) for piece in pieces], dtype=np.uint32)
        y, x = contested.quad.decode(contested.keys)
        labels[y, x] = np.repeat(piece_number, contested.pixels)
    return labels


def _shape_columns(labels: Array, class_id: Array, compared: Array, *, ignored: Array) -> dict[str, Array]:
    """The columns that describe the parts of one map; confusions are looked up in ``compared`` (class + 1)."""
    count = len(class_id)
    columns = _boxes(labels, count) | _confusions(labels, class_id, compared)
    # Squared distance of each pixel to the nearest pixel outside its part
    squared = edt.edtsq(np.ascontiguousarray(labels), black_border=True, parallel=1).ravel()
    label = labels.ravel()
    largest = np.zeros(count + 1, dtype=squared.dtype)
    np.maximum.at(largest, label, squared)
    columns["max_width_px"] = 2 * np.sqrt(largest[1:].astype(np.float64)) - 1
    columns["boundary_px"] = np.bincount(label[(squared <= 2) & (label > 0)], minlength=count + 1)[1:]
    near = cv2.dilate(ignored.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)) > 0
    touches = np.zeros(count + 1, dtype=bool)
    touches[labels[near]] = True
    columns["touches_ignore"] = touches[1:]
    return columns


def _boxes(labels: Array, count: int) -> dict[str, Array]:
    """Half-open boxes of the parts: rows ``y0`` to ``y1 - 1`` and columns ``x0`` to ``x1 - 1``."""
    height, width = labels.shape
    start, length = runs(labels)
    label = labels.ravel()[start]
    y, x = np.divmod(start, width)
    box = {"y0": np.full(count + 1, height), "x0": np.full(count + 1, width)}
    box |= {"y1": np.zeros(count + 1, dtype=np.int64), "x1": np.zeros(count + 1, dtype=np.int64)}
    for name, values in (("y0", y), ("x0", x)):
        np.minimum.at(box[name], label, values)
    for name, values in (("y1", y + 1), ("x1", x + length)):
        np.maximum.at(box[name], label, values)
    return {name: values[1:] for name, values in box.items()}


def _confusions(labels: Array, class_id: Array, classes: Array) -> dict[str, Array]:
    """The classes other than its own that ``classes`` has on each part, and their numbers of pixels."""
    start, length = runs(labels, classes)
    label, other = labels.ravel()[start].astype(np.int64), classes.ravel()[start].astype(np.int64) - 1
    counted = (label > 0) & (other != np.append(-1, class_id)[label])
    base = int(classes.max(initial=0)) + 1
    pairs, pair = np.unique(label[counted] * base + other[counted], return_inverse=True)
    pixels = sum_by(pair, length[counted], len(pairs))
    part, other = np.divmod(pairs, base)
    ascending = np.lexsort((-pairs, pixels))  # the last assignment wins: most pixels, then lowest class
    top = np.full(len(class_id) + 1, -1, dtype=np.int64)
    top[part[ascending]] = other[ascending]
    ends = np.searchsorted(part, np.arange(1, len(class_id) + 2))
    columns = {"top_confusion": top[1:]}
    for name, values in (("confused_class", other.astype(np.int16)), ("confused_px", pixels.astype(np.int32))):
        columns[name] = np.empty(len(class_id), dtype=object)
        for number, (low, high) in enumerate(pairwise(ends)):
            columns[name][number] = values[low:high]
    return columns
