"""Kinds of errors: boundary, extent or segment, for each false positive and false negative.

Bernhard et al.: What's Outside the Intersection? Fine-Grained Error Analysis for Semantic Segmentation Beyond IoU. WACV
2024, section 3; behavior of https://github.com/mxbh/beyond-iou with exact boundaries. The definition is in
``docs/object_size.md``. In short, for one class, where TN are the pixels that neither map gives to the class:

1. A *boundary* error is within the band width of a TP and of a TN, or of such an error of the same type (fp or fn), and
   its 8-connected component of such errors touches a TP and a TN.
2. Other false negatives of an object without a TP, and false positives of a region without one, are *segment* errors.
3. All others are *extent* errors.

Differences from the paper: ignored pixels are TN of each class, whatever is predicted there. Annotated instances take
the place of components in 2, and all false negatives of an instance without a TP are segment errors. The band is at
least one pixel wide.
"""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from segattn.metrics.attribution import Attribution
from segattn.metrics.boundary import boundary_width
from segattn.objects.ground_truth import Array, components, sum_by

BAND_FRACTION = 0.01
"""Width of the band as a fraction of the image diagonal, as in the paper."""

_ROWS = 64
"""Rows to process at a time, so that they fit into the cache of the processor. Does not change any result."""

_CLASSES = 32
"""Classes to process at a time, with two bits each in one integer. Does not change any result."""


def error_kinds(rows: Attribution, width: int | None = None) -> dict[str, Array]:
    """Count the boundary errors of each row: columns ``fp_boundary`` and ``fn_boundary``.

    The errors charged to an object by bounded blame are boundary errors first.

    Args:
        rows: of the image.
        width: of the band in pixels; None is :data:`BAND_FRACTION` of the image diagonal.
    """
    objects, regions = rows.objects, rows.regions
    if width is None:
        height, across = objects.labels.shape
        width = boundary_width(height, across, BAND_FRACTION)
    with_tp, wrong = objects.class_id[regions.tp > 0], objects.class_id[regions.tp < objects.size]
    classes = np.intersect1d(with_tp, np.append(wrong, regions.class_id[regions.fp > 0])) + 1
    fp, fn = boundary_errors(objects.classes, regions.classes, width, classes)
    count, total = len(objects.size), len(rows.size)
    fn_boundary = np.bincount(objects.labels.ravel()[fn], minlength=count) * (regions.tp > 0)
    # The pairs of a region and an object, their boundary errors, and those beyond the area of the object
    region = regions.labels.ravel()[fp].astype(np.int64)
    excess = np.flatnonzero(rows.owner > 0)
    pair, length = _merged(region * count + _owners(rows, fp, region))
    pairs, which = np.unique(np.append(pair, rows.region[excess] * count + rows.owner[excess]), return_inverse=True)
    pixels = sum_by(which[: len(pair)], length, len(pairs))
    charged = np.minimum(pixels, objects.size[pairs % count])
    fp_boundary = np.append(sum_by(pairs % count, charged, count)[1:], np.zeros(total - count + 1, dtype=np.int64))
    fp_boundary[excess] = (pixels - charged)[which[len(pair) :]]
    return {"fp_boundary": fp_boundary, "fn_boundary": np.append(fn_boundary[1:], np.zeros(total - count + 1, int))}


def _merged(values: Array) -> tuple[Array, Array]:
    """The values without repetitions of the one before, and how often each was repeated."""
    start = np.flatnonzero(np.diff(values, prepend=-1))
    return values[start], np.diff(start, append=len(values))


def _owners(rows: Attribution, fp: Array, region: Array) -> Array:
    """The object that each false positive, in a region with true positives, goes to."""
    owner: Array = rows.regions.owner[region]
    shared = rows.regions.shared[region]
    if rows.contested is not None and shared.any():
        quad, starts = rows.contested.quad, rows.contested.keys[rows.contested.start]
        y, x = np.divmod(fp[shared], rows.objects.labels.shape[1])
        group = np.searchsorted(np.unique(rows.contested.region), region[shared])
        key = quad.spread[y] << 1 | quad.spread[x] | quad.first(group)
        owner[shared] = rows.contested.owner[np.searchsorted(starts, key, side="right") - 1]
    return owner


def boundary_errors(true: Array, predicted: Array, width: int, classes: Array) -> tuple[Array, Array]:
    """Find the boundary errors of one image.

    Args:
        true: class + 1 of the ground truth, or 0 where ignored, shape (height, width).
        predicted: the same for the prediction, also 0 where the ground truth is ignored.
        width: of the band in pixels.
        classes: class + 1 of the classes that can have boundary errors, those with true positives and errors.

    Returns:
        Flat positions of the false positives and of the false negatives that are boundary errors, ascending.
    """
    outside = 1 + int(max(true.max(), predicted.max()))
    kind = np.min_scalar_type(outside)
    true, predicted = (np.pad(part.astype(kind), width, constant_values=outside) for part in (true, predicted))
    wrong = np.flatnonzero(true != predicted)
    sides = [values.ravel()[wrong] for values in (predicted, true)]  # class of the fp, class of the fn
    marks = np.zeros((2, 3, len(wrong)), dtype=bool)  # of fp and fn: near, touches a TP, touches a TN
    for first in range(0, len(classes), _CLASSES):
        _mark(marks, true, wrong, sides, classes=classes[first : first + _CLASSES], width=width)
    pairs = zip(sides, marks, strict=True)
    fp, fn = (_kept(wrong, side, flags, shape=true.shape, margin=width) for side, flags in pairs)
    return fp, fn


def _mark(marks: Array, true: Array, wrong: Array, sides: Sequence[Array], *, classes: Array, width: int) -> None:
    """Mark the errors of some classes that are near a TP and a TN, or near such an error of the same type."""
    count, outside = len(classes), int(true[0, 0])
    bit = np.zeros(outside + 1, dtype=np.min_scalar_type((1 << 2 * count) - 1))
    bit[classes] = 1 << np.arange(count).astype(bit.dtype)
    everything = bit.dtype.type((1 << count) - 1)
    own = [bit[side] for side in sides]
    # 1. A word of each pixel: for which classes it is a TP (lower half) and a TN (upper half)
    word = bit | (everything ^ bit) << count
    word[outside] = 0
    words = word.take(true)
    words.ravel()[wrong] = (everything & ~(own[0] | own[1])) << count
    # 2. Errors near a TP and a TN: fp in the lower half, fn in the upper half
    near = bits_within(words, wrong, width)
    near &= near >> count
    core = np.zeros_like(words)
    core.ravel()[wrong] = (near & own[0]) | (near & own[1]) << count
    # 3. Errors near those
    near = core.ravel()[wrong]
    others = np.flatnonzero(near != own[0] | own[1] << count)
    near[others] |= bits_within(core, wrong[others], width)
    # 4. Whether they touch a TP and a TN
    touched = np.zeros_like(near)
    for y, x in product((-1, 0, 1), repeat=2):
        touched |= words.ravel()[wrong + y * true.shape[1] + x]
    for side, (is_near, by_tp, by_tn) in enumerate(marks):
        is_near |= (near >> side * count & own[side]) > 0
        by_tp |= (touched & own[side]) > 0
        by_tn |= (touched >> count & own[side]) > 0


def _kept(wrong: Array, classes: Array, marks: Array, *, shape: tuple[int, ...], margin: int) -> Array:
    """The near pixels whose component of one class touches a TP and a TN; positions without the margin."""
    at, classes, by_tp, by_tn = (values[marks[0]] for values in (wrong, classes, *marks[1:]))
    drawn = np.zeros(shape, dtype=classes.dtype)
    drawn.ravel()[at] = classes
    label = components(drawn).ravel()[at]
    touches = np.zeros((2, int(label.max(initial=0)) + 1), dtype=bool)
    touches[0, label[by_tp]] = touches[1, label[by_tn]] = True
    kept = (touches[0] & touches[1])[label]
    y, x = np.divmod(at[kept], shape[1])
    position: Array = (y - margin) * (shape[1] - 2 * margin) + x - margin
    return position


def bits_within(words: Array, at: Array, distance: int) -> Array:
    """The bits that are set within a rounded Euclidean distance of some pixels.

    Args:
        words: unsigned integers (height, width).
        at: ascending flat positions, at least ``distance`` from the edges.
        distance: in pixels, at least 1.
    """
    reach = [math.isqrt(distance * (distance + 1) - y * y) for y in range(distance + 1)]  # of the disk in each row
    found = np.zeros(len(at), dtype=words.dtype)
    height, width = words.shape
    for top in range(distance, height - distance, _ROWS):
        low, high = np.searchsorted(at, (top * width, (top + _ROWS) * width))
        if low < high:
            strip = words[top - distance : top + _ROWS + distance]
            found[low:high] = _spread(strip, reach)[at[low:high] - top * width - distance]
    return found


def _spread(words: Array, reach: Sequence[int]) -> Array:
    """The bits in the disk with this reach in each row, by the flat position of the upper left corner of its square."""
    distance, width = len(reach) - 1, words.shape[1]
    # 1. Bits in a row of 1, 2, 4, ... pixels from each pixel on; two of them cover a row of any length. A row that
    #    continues in the next line of the image belongs to no disk.
    rows = {1: words.ravel()}
    for length in (2**k for k in range((2 * distance + 1).bit_length() - 1)):
        rows[2 * length] = rows[length][:-length] | rows[length][length:]
    # 2. The disk is a pile of such rows, symmetric in y.
    count = words.size - 2 * distance
    result = np.zeros(count - 2 * distance * width, dtype=words.dtype)
    for y, half in enumerate(reach):
        length = 1 << (2 * half + 1).bit_length() - 1
        left, right = distance - half, distance + half + 1 - length
        if y == 0 or half < reach[y - 1]:
            row = rows[length][left : left + count] | rows[length][right : right + count]
        for start in {(distance - y) * width, (distance + y) * width}:
            result |= row[start : start + len(result)]
    return result
