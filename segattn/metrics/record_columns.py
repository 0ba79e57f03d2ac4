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

_LARGEST_BOX = 512
"""Longest side of a box in which OpenCV's distance transform, with numbers of 32 bits, is exact."""


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
    parts = np.full(rows.objects.classes.shape, -1)  # a pixel has at most one: its region has one owner for it
    parts[y, x] = pixel_part[chosen]
    start, length = runs(parts, rows.objects.classes)
    inside = parts.ravel()[start] >= 0
    start, length = start[inside], length[inside]
    true = rows.objects.classes.ravel()[start].astype(np.int64)
    pixels = _Pieces(parts.ravel()[start], start, length, true - 1)
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
    labels, first_false = rows.objects.labels, len(rows.objects.size) - 1
    ignored = (rows.objects.classes == 0).view(np.uint8)
    near = cv2.dilate(ignored, np.ones((3, 3), dtype=np.uint8)).view(bool)
    start = rows.regions.runs.start
    squared = _squared_distances(labels).ravel()
    shapes = _shapes(squared, start, labels.ravel()[start], count=first_false, touching=labels[near])
    if not len(wrong.part):
        return shapes
    # Objects and free-standing false positives overlap, so those have maps of their boxes.
    wrong = wrong._replace(part=wrong.part - first_false)
    touching = np.repeat(wrong.part + 1, wrong.length)[near.ravel()[ranges(wrong.start, wrong.length)]]
    squared = _squared_distances_of_parts(wrong, box, labels.shape)
    start = np.cumsum(wrong.length) - wrong.length
    false = _shapes(squared, start, wrong.part + 1, count=len(box["y0"]), touching=touching)
    return _Shapes(*map(np.append, shapes, false))


def _shapes(squared: Array, start: Array, label: Array, *, count: int, touching: Array) -> _Shapes:
    """The shapes of parts with numbers from 1.

    Args:
        squared: squared distance of each pixel to the nearest pixel outside its part.
        start: position in ``squared`` of the first pixels of runs with one part each.
        label: number of the part of each run.
        count: number of parts.
        touching: numbers of the parts that touch ignored pixels, in any order, with repetitions.
    """
    largest = np.zeros(count + 1, dtype=squared.dtype)
    np.maximum.at(largest, label, np.maximum.reduceat(squared, start))
    boundary = sum_by(label, np.add.reduceat((squared <= 2).view(np.uint8), start, dtype=np.uint32), count + 1)
    touches = np.zeros(count + 1, dtype=bool)
    touches[touching] = True
    return _Shapes(boundary[1:], 2 * np.sqrt(largest[1:].astype(np.float64)) - 1, touches[1:])


def _squared_distances(labels: Array) -> Array:
    """Squared distance of each pixel to the nearest pixel outside its part; outside of the map is outside of all."""
    squared: Array = edt.edtsq(np.ascontiguousarray(labels), black_border=True, parallel=1)
    return squared


def _squared_distances_of_parts(pieces: _Pieces, box: Mapping[str, Array], image: tuple[int, ...]) -> Array:
    """The same for the pixels of pieces of parts, each in a map of its box, which is usually small."""
    # 1. The boxes one after the other, with a margin of one pixel. In a box without a pixel with four neighbors, all
    #    distances are 1. If all boxes together are larger than the image, one map of the image takes their place.
    high, wide = box["y1"] - box["y0"] + 2, box["x1"] - box["x0"] + 2
    area = np.where((high > 4) & (wide > 4), high * wide, 0)
    pixels = ranges(pieces.start, pieces.length)
    if area.sum() > image[0] * image[1]:
        labels = np.zeros(image, dtype=np.uint32)
        labels.ravel()[pixels] = np.repeat(pieces.part + 1, pieces.length)
        return _squared_distances(labels).ravel()[pixels]
    first = np.cumsum(area) - area
    chosen = area[pieces.part] > 0
    part, start, length = (values[chosen] for values in (pieces.part, pieces.start, pieces.length))
    y, x = np.divmod(start, image[1])
    pixels = ranges(first[part] + (y - box["y0"][part] + 1) * wide[part] + x - box["x0"][part] + 1, length)
    drawn, distance = np.zeros(int(area.sum()), dtype=np.uint8), np.empty(int(area.sum()), dtype=np.float32)
    drawn[pixels] = 1
    # 2. The distances in each box
    for low, rows, columns in zip(*(values[area > 0].tolist() for values in (first, high, wide)), strict=True):
        inside = drawn[low : low + rows * columns].reshape(rows, columns)
        if max(rows, columns) > _LARGEST_BOX:
            found = np.sqrt(_squared_distances(inside))
        else:
            found = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        distance[low : low + inside.size] = found.ravel()
    squared = np.ones(int(pieces.length.sum()), dtype=np.float32)
    squared[np.repeat(chosen, pieces.length)] = np.rint(distance[pixels] ** 2)
    return squared
