"""The object record of one image: the rows of its attribution with all columns of the record.

Parts of the image (objects and free-standing false positives) are given as maps of numbers from 1, where 0 is no part.
Everything outside the image counts as outside of each part.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import edt
import numpy as np
from jaxtyping import Integer
from torch import Tensor

from segattn.metrics.attribution import Attribution, attribute
from segattn.metrics.error_kinds import error_kinds
from segattn.objects.ground_truth import Array, ranges, runs, sum_by, target_objects


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

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from segattn.metrics.functional import object_rows
        >>> prediction = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> rows = pd.DataFrame(object_rows(prediction, target, 2, class_names=["sky", "car"]))
        >>> rows[["class_name", "kind", "size_px", "tp", "fp", "fn"]]
          class_name    kind  size_px  tp  fp  fn
        0        sky  object        4   3   0   1
        1        car  object        3   3   1   0
    """
    ids = None if instances is None else np.asarray(instances)
    objects = target_objects(np.asarray(target), num_classes, ignore_index=ignore_index, instances=ids)
    names = [str(index) for index in range(num_classes)] if class_names is None else class_names
    return record_columns(attribute(np.asarray(prediction), objects, num_classes), image=image, class_names=names)


def record_columns(rows: Attribution, *, image: str, class_names: Sequence[str]) -> dict[str, Array]:
    """All columns of the object record for the rows of one image, as returned by :func:`object_rows`.

    Examples:
        >>> import numpy as np
        >>> from segattn.metrics.functional import attribute, record_columns, target_objects
        >>> prediction = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> rows = attribute(prediction, target_objects(target, 2), 2)
        >>> record_columns(rows, image="a.png", class_names=["sky", "car"])["size_px"]
        array([4, 3])
    """
    height, width = rows.objects.labels.shape
    number, first_false = len(rows.size), len(rows.objects.size) - 1
    wrong = _false_positive_pieces(rows)
    pieces = _Pieces(*map(np.concatenate, zip(_object_pieces(rows), wrong, strict=True)))
    box = _boxes(pieces, number, width)
    shapes = _shape_columns(rows, wrong, {name: values[first_false:] for name, values in box.items()})
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
        "boundary_px": shapes.boundary,
        "max_width_px": shapes.max_width,
        "elongation": rows.size / shapes.max_width**2,
        "touches_border": (box["y0"] == 0) | (box["x0"] == 0) | (box["y1"] == height) | (box["x1"] == width),
        "touches_ignore": shapes.touches_ignore,
        "merged": np.append(rows.regions.merged[1:], np.zeros(number - first_false, dtype=bool)),
        **_confusions(pieces, rows.class_id),
    }


class _Pieces(NamedTuple):
    """The pixels of all parts, in horizontal pieces on which both maps are constant."""

    part: Array  # number of the part, from 0 in the order of the rows
    start: Array  # flat position of the first pixel
    length: Array
    other: Array  # class predicted on an object, or class of the ground truth on a false positive


class _Shapes(NamedTuple):
    """The columns that depend on the outlines of the parts."""

    boundary: Array
    max_width: Array
    touches_ignore: Array


def _object_pieces(rows: Attribution) -> _Pieces:
    found = rows.regions.runs
    valid = found.label > 0
    label, predicted = found.label[valid].astype(np.int64), found.predicted[valid].astype(np.int64)
    return _Pieces(label - 1, found.start[valid], found.length[valid], predicted - 1)


def _false_positive_pieces(rows: Attribution) -> _Pieces:
    """The pieces of the free-standing false positives."""
    regions, contested, found = rows.regions, rows.contested, rows.regions.runs
    part = np.flatnonzero(rows.region)
    region, owner = rows.region[part], rows.owner[part]
    # 1. Regions with one row: all pixels that are not true positives.
    shared = regions.shared[region]
    part_of = np.full(len(regions.owner), -1)
    part_of[region[~shared]] = part[~shared]
    run_part = np.where(found.hit, -1, part_of[found.region])
    chosen = run_part >= 0
    true = found.true[chosen].astype(np.int64)
    pieces = _Pieces(run_part[chosen], found.start[chosen], found.length[chosen], true - 1)
    if contested is None or not shared.any():
        return pieces
    # 2. Shared regions: the pixels whose owner left an excess. Its rows are sorted by region and owner.
    count = len(rows.objects.size)
    excess, pair = region[shared] * count + owner[shared], contested.region * count + contested.owner
    place = np.searchsorted(excess, pair).clip(max=len(excess) - 1)
    pixel_part = np.repeat(np.where(excess[place] == pair, part[shared][place], -1), contested.pixels)
    chosen = pixel_part >= 0
    y, x = contested.quad.decode(contested.keys[chosen])
    true = rows.objects.classes[y, x].astype(np.int64)
    flat = y.astype(np.int64) * rows.objects.classes.shape[1] + x
    pixels = _Pieces(pixel_part[chosen], flat, np.ones_like(flat), true - 1)
    return _Pieces(*map(np.concatenate, zip(pieces, pixels, strict=True)))


def _boxes(pieces: _Pieces, count: int, width: int) -> dict[str, Array]:
    """Half-open boxes of the parts: rows ``y0`` to ``y1 - 1`` and columns ``x0`` to ``x1 - 1``."""
    y, x = np.divmod(pieces.start, width)
    box = {name: np.full(count, np.iinfo(np.int64).max) for name in ("y0", "x0")}
    box |= {name: np.zeros(count, dtype=np.int64) for name in ("y1", "x1")}
    for name, values in (("y0", y), ("x0", x)):
        np.minimum.at(box[name], pieces.part, values)
    for name, values in (("y1", y + 1), ("x1", x + pieces.length)):
        np.maximum.at(box[name], pieces.part, values)
    return box


def _confusions(pieces: _Pieces, class_id: Array) -> dict[str, Array]:
    """The classes other than its own that the other map has on each part, and their numbers of pixels."""
    counted = pieces.other != class_id[pieces.part]
    base = int(pieces.other.max(initial=0)) + 1
    pairs, pair = np.unique(pieces.part[counted] * base + pieces.other[counted], return_inverse=True)
    pixels = sum_by(pair, pieces.length[counted], len(pairs))
    part, other = np.divmod(pairs, base)
    ascending = np.lexsort((-pairs, pixels))  # the last assignment wins: most pixels, then lowest class
    top = np.full(len(class_id), -1)
    top[part[ascending]] = other[ascending]
    ends = np.searchsorted(part, np.arange(len(class_id) + 1)).tolist()
    columns = {"top_confusion": top}
    for name, values in (("confused_class", other.astype(np.int16)), ("confused_px", pixels.astype(np.int32))):
        columns[name] = np.empty(len(class_id), dtype=object)
        for number, (low, high) in enumerate(pairwise(ends)):
            columns[name][number] = values[low:high]
    return columns


def _shape_columns(rows: Attribution, wrong: _Pieces, box: Mapping[str, Array]) -> _Shapes:
    """The shapes of all parts; ``wrong`` and ``box`` are the pieces and boxes of the false positives."""
    labels, found = rows.objects.labels, rows.regions.runs
    ignored = (rows.objects.classes == 0).view(np.uint8)
    near = cv2.dilate(ignored, np.ones((3, 3), dtype=np.uint8)).view(bool) if ignored.any() else None
    first_false = len(rows.objects.size) - 1
    shapes = _shapes(labels, found.start, first_false, near)
    if not len(wrong.part):
        return shapes
    # Objects and free-standing false positives overlap, so they need a second map. It covers their boxes only.
    top, left, bottom, right = box["y0"].min(), box["x0"].min(), box["y1"].max(), box["x1"].max()
    y, x = np.divmod(ranges(wrong.start, wrong.length), labels.shape[1])
    crop = np.zeros((bottom - top, right - left), dtype=np.uint32)
    crop[y - top, x - left] = np.repeat(wrong.part - first_false + 1, wrong.length)
    near = None if near is None else near[top:bottom, left:right]
    return _Shapes(*map(np.append, shapes, _shapes(crop, runs(crop)[0], len(box["y0"]), near)))


def _shapes(labels: Array, start: Array, count: int, near: Array | None) -> _Shapes:
    """The shapes of the parts of one map of numbers from 1.

    Args:
        labels: the map; everything outside of it is outside of all parts.
        start: flat positions of the first pixels of runs on which the map is constant.
        count: number of parts.
        near: pixels that are ignored or have an ignored neighbor; None if there are none.
    """
    label = labels.ravel()[start]
    # Squared distance of each pixel to the nearest pixel outside its part
    squared = edt.edtsq(np.ascontiguousarray(labels), black_border=True, parallel=1).ravel()
    largest = np.zeros(count + 1, dtype=squared.dtype)
    np.maximum.at(largest, label, np.maximum.reduceat(squared, start))
    boundary = sum_by(label, np.add.reduceat(squared <= 2, start, dtype=np.int64), count + 1)
    touches = np.zeros(count + 1, dtype=bool)
    if near is not None:
        touches[labels[near]] = True
    return _Shapes(boundary[1:], 2 * np.sqrt(largest[1:].astype(np.float64)) - 1, touches[1:])
