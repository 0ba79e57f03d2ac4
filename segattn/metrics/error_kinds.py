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

import numpy as np

from segattn.metrics.attribution import Attribution, Contested, Runs
from segattn.metrics.boundary import boundary_width
from segattn.objects.ground_truth import Array, components, ranges, sum_by

BAND_FRACTION = 0.01
"""Width of the band as a fraction of the image diagonal, as in the paper."""

_ROWS = 64
"""Rows to process at a time, so that they fit into the cache of the processor. Does not change any result."""

_PIXELS_PER_QUERY = 16
"""With more pixels per pixel in question, only these are looked up. Does not change any result."""

_CLASSES = 32
"""Classes to process at a time, with two bits each in one integer. Does not change any result."""


def error_kinds(rows: Attribution, width: int | None = None) -> dict[str, Array]:
    """Count the boundary errors of each row: columns ``fp_boundary`` and ``fn_boundary``.

    The errors charged to an object by bounded blame are boundary errors first.

    Args:
        rows: attribution of the image, from :func:`segattn.metrics.functional.attribute`.
        width: width of the band in pixels; None is :data:`BAND_FRACTION` of the image diagonal.
    """
    objects, regions = rows.objects, rows.regions
    height, across = objects.labels.shape
    if width is None:
        width = boundary_width(height, across, BAND_FRACTION)
    with_tp, wrong = objects.class_id[regions.tp > 0], objects.class_id[regions.tp < objects.size]
    classes = np.intersect1d(with_tp, np.append(wrong, regions.class_id[regions.fp > 0])) + 1
    count, total, found = len(objects.size), len(rows.size), regions.runs
    start, length, label, region = (values[found.true != found.predicted].astype(np.int64) for values in found[:4])
    fp, fn = boundary_errors(found, (height, across), width, classes)
    fn_boundary = sum_by(label, _sums(fn, length), count) * (regions.tp > 0)
    # The pairs of a region and an object, their boundary errors, and those beyond the area of the object
    by_region = sum_by(region, _sums(fp, length), len(regions.owner)) * ~regions.shared
    of_one = np.flatnonzero(by_region)
    pair, pixels = of_one * count + regions.owner[of_one], by_region[of_one]
    if rows.contested is not None:
        chosen = fp & np.repeat(regions.shared[region], length)
        pieces = _contested_pixels(
            rows.contested, across, ranges(start, length)[chosen], np.repeat(region, length)[chosen]
        )
        pair = np.append(pair, rows.contested.region * count + rows.contested.owner)
        pixels = np.append(pixels, pieces)
    excess = np.flatnonzero(rows.owner > 0)
    pairs, which = np.unique(np.append(pair, rows.region[excess] * count + rows.owner[excess]), return_inverse=True)
    pixels = sum_by(which[: len(pair)], pixels, len(pairs))
    charged = np.minimum(pixels, objects.size[pairs % count])
    fp_boundary = np.append(sum_by(pairs % count, charged, count)[1:], np.zeros(total - count + 1, dtype=np.int64))
    fp_boundary[excess] = (pixels - charged)[which[len(pair) :]]
    return {"fp_boundary": fp_boundary, "fn_boundary": np.append(fn_boundary[1:], np.zeros(total - count + 1, int))}


def _sums(chosen: Array, length: Array) -> Array:
    """How many pixels of each run are chosen."""
    return np.diff(np.cumsum(chosen)[np.cumsum(length) - 1], prepend=0)


def _contested_pixels(contested: Contested, width: int, fp: Array, region: Array) -> Array:
    """How many of some false positives in shared regions are in each piece."""
    y, x = np.divmod(fp, width)
    key = contested.quad.encode(y, x) | contested.quad.first(np.searchsorted(np.unique(contested.region), region))
    piece = np.searchsorted(contested.keys[contested.start], key, side="right") - 1
    return np.bincount(piece, minlength=len(contested.start))


def boundary_errors(found: Runs, shape: tuple[int, int], width: int, classes: Array) -> tuple[Array, Array]:
    """Find the boundary errors of one image.

    Args:
        found: the runs of the image.
        shape: height and width of the image.
        width: width of the band in pixels.
        classes: class + 1 of the classes that can have boundary errors, those with true positives and errors.

    Returns:
        Which wrong pixels, in the order of the runs, are boundary errors as false positives and as false negatives.
    """
    wrong = found.true != found.predicted
    start, length = found.start[wrong], found.length[wrong]
    line = shape[1] + 2 * width  # of the image with a margin
    at = ranges(start + width * (line + 1 + 2 * (start // shape[1])), length)
    sides = [np.repeat(values[wrong], length) for values in (found.predicted, found.true)]
    marks = np.zeros((2, 3, len(at)), dtype=bool)  # of fp and fn: near, touches a TP, touches a TN
    for first in range(0, len(classes), _CLASSES):
        chosen = classes[first : first + _CLASSES]
        bit = np.zeros(1 + int(max(found.true.max(), found.predicted.max())), np.min_scalar_type(4 ** len(chosen) - 1))
        bit[chosen] = 1 << np.arange(len(chosen)).astype(bit.dtype)
        words = _words(found, bit, shape, width, count=len(chosen))
        _mark(marks, words, at, [bit[side] for side in sides], count=len(chosen), width=width)
    at = ranges(start, length)
    fp, fn = (_kept(at, side, flags, shape) for side, flags in zip(sides, marks, strict=True))
    return fp, fn


def _words(found: Runs, bit: Array, shape: tuple[int, int], margin: int, *, count: int) -> Array:
    """For which classes each pixel is a TP (lower half of its bits) and a TN (upper half); 0 in the margin."""
    true, predicted = bit[found.true], bit[found.predicted]
    word = (bit.dtype.type((1 << count) - 1) & ~(true | predicted)) << count | true * found.hit
    words = np.zeros([side + 2 * margin for side in shape], dtype=bit.dtype)
    words[margin:-margin, margin:-margin] = np.repeat(word, found.length).reshape(shape)
    return words


def _mark(marks: Array, words: Array, at: Array, own: Sequence[Array], *, count: int, width: int) -> None:
    """Mark the errors of some classes that are near a TP and a TN, or near such an error of the same type."""
    both = own[0] | own[1] << count
    # 1. Errors near a TP and a TN: fp in the lower half, fn in the upper half. Most of them are found in a square.
    near = np.zeros_like(both)
    for shape in (square(math.isqrt(width * (width + 1) // 2)), disk(width)):
        others = np.flatnonzero(near != both)
        bits = bits_within(words, at[others], shape)
        bits &= bits >> count
        near[others] = both[others] & (bits | bits << count)
    # 2. Errors near those
    core = np.zeros_like(words)
    core.ravel()[at] = near
    others = np.flatnonzero(near != both)
    near[others] |= bits_within(core, at[others], disk(width))
    # 3. Whether they touch a TP and a TN
    touched = bits_within(words, at, disk(1))
    for side, (is_near, by_tp, by_tn) in enumerate(marks):
        is_near |= (near >> side * count & own[side]) > 0
        by_tp |= (touched & own[side]) > 0
        by_tn |= (touched >> count & own[side]) > 0


def _kept(at: Array, classes: Array, marks: Array, shape: tuple[int, int]) -> Array:
    """Which pixels are near, and in a component of near pixels of one class that touches a TP and a TN."""
    kept: Array = marks[0].copy()
    at, classes, by_tp, by_tn = (values[marks[0]] for values in (at, classes, *marks[1:]))
    drawn = np.zeros(shape, dtype=classes.dtype)
    drawn.ravel()[at] = classes
    label = components(drawn).ravel()[at]
    touches = np.zeros((2, int(label.max(initial=0)) + 1), dtype=bool)
    touches[0, label[by_tp]] = touches[1, label[by_tn]] = True
    kept[marks[0]] = (touches[0] & touches[1])[label]
    return kept


def disk(distance: int) -> list[int]:
    """How far the pixels within a rounded Euclidean distance reach to both sides, 0, 1, ... rows from the center."""
    return [math.isqrt(distance * (distance + 1) - y * y) for y in range(distance + 1)]


def square(distance: int) -> list[int]:
    """The same for a square of side 2 * distance + 1."""
    return [distance] * (distance + 1)


def bits_within(words: Array, at: Array, reach: Sequence[int]) -> Array:
    """The bits that are set around some pixels.

    Args:
        words: unsigned integers (height, width).
        at: ascending flat positions, at least as far from the edges as the shape reaches.
        reach: the shape, a :func:`disk` or a :func:`square`.
    """
    if _PIXELS_PER_QUERY * len(at) < words.size:
        return _gathered(words, at, reach)
    found = np.zeros(len(at), dtype=words.dtype)
    distance, (height, width) = len(reach) - 1, words.shape
    for top in range(distance, height - distance, _ROWS):
        low, high = np.searchsorted(at, (top * width, (top + _ROWS) * width))
        if low < high:
            strip = words[top - distance : top + _ROWS + distance]
            found[low:high] = _spread(strip, reach)[at[low:high] - (top * width + distance)]
    return found


def _gathered(words: Array, at: Array, reach: Sequence[int]) -> Array:
    """The same for few pixels."""
    rows, width = _rows(words, max(reach)), words.shape[1]
    found = np.zeros(len(at), dtype=words.dtype)
    for y in range(1 - len(reach), len(reach)):
        half = reach[abs(y)]
        length = 1 << (2 * half + 1).bit_length() - 1
        found |= rows[length][at + (y * width - half)] | rows[length][at + (y * width + half + 1 - length)]
    return found


def _spread(words: Array, reach: Sequence[int]) -> Array:
    """The same for all pixels, by the flat position of the upper left corner of the square around the shape."""
    # The shape is a union of rectangles, of which the widest are the lowest. From the narrowest on, extend the union by
    # the rows by which the next is lower, and add that. A row that continues in the next line belongs to no shape.
    rows, distance, width = _rows(words, max(reach)), len(reach) - 1, words.shape[1]
    union, high, above = np.zeros(words.size - 2 * distance, dtype=words.dtype), distance, 0
    for half in sorted(set(reach)):
        lower = distance - reach[::-1].index(half)  # rows above and below the center
        union, high, above = _any_of(union, 2 * (high - lower) + 1, width), lower, above + high - lower
        length = 1 << (2 * half + 1).bit_length() - 1
        left, right = (above * width + distance + x for x in (-half, half + 1 - length))
        union |= rows[length][left : left + len(union)]
        union |= rows[length][right : right + len(union)]
    return _any_of(union, 2 * high + 1, width)


def _rows(words: Array, half: int) -> dict[int, Array]:
    """Bits in a row of 1, 2, 4, ... pixels from each pixel on; two of them cover any row of up to 2 * half + 1."""
    rows = {1: words.ravel()}
    for length in (2**k for k in range((2 * half + 1).bit_length() - 1)):
        rows[2 * length] = rows[length][:-length] | rows[length][length:]
    return rows


def _any_of(words: Array, count: int, step: int) -> Array:
    """The bits of each word and of the ``count - 1`` words at distances of 1, 2, ... steps after it."""
    reached = 1
    while reached < count:
        more = min(reached, count - reached)
        words = words[: -more * step] | words[more * step :]
        reached += more
    return words
