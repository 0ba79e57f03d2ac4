"""What a labelled part of an image looks like: box, boundary, greatest width, and what it touches.

Parts are numbered from 1, 0 is no part, and every part has a pixel. Outside of the image is outside of every part.
"""

from itertools import pairwise

import cv2
import edt
import numpy as np

from segattn.objects.target_objects import Array, runs, sum_by


def boxes(labels: Array, count: int) -> dict[str, Array]:
    """Half-open boxes of the parts: rows ``y0..y1-1`` and columns ``x0..x1-1``, each of shape (count,)."""
    height, width = labels.shape
    start, length = runs(labels)
    label = labels.ravel()[start]
    y, x = np.divmod(start, width)
    lower = {"y0": (y, height), "x0": (x, width)}
    upper = {"y1": y + 1, "x1": x + length}
    box = {name: np.full(count + 1, beyond) for name, (_, beyond) in lower.items()}
    box |= {name: np.zeros(count + 1, dtype=np.int64) for name in upper}
    for name, (values, _) in lower.items():
        np.minimum.at(box[name], label, values)
    for name, values in upper.items():
        np.maximum.at(box[name], label, values)
    return {name: extremes[1:] for name, extremes in box.items()}


def shapes(labels: Array, size: Array) -> dict[str, Array]:
    """Boundary and width of the parts.

    Args:
        labels: unsigned (height, width): the part that each pixel belongs to.
        size: area of every part, shape (count,).

    Returns:
        ``boundary_px``: pixels removed by a 3x3 erosion; ``max_width_px``: twice the largest distance from a pixel to
        the nearest one outside, minus 1; ``elongation``: size / max_width_px².
    """
    squared = edt.edtsq(np.ascontiguousarray(labels), black_border=True, parallel=1).ravel()
    label = labels.ravel()
    largest = np.zeros(len(size) + 1, dtype=squared.dtype)
    np.maximum.at(largest, label, squared)
    max_width = 2 * np.sqrt(largest[1:].astype(np.float64)) - 1
    boundary = np.bincount(label[(squared <= 2) & (label > 0)], minlength=len(size) + 1)[1:]
    return {"boundary_px": boundary, "max_width_px": max_width, "elongation": size / max_width**2}


def touches_ignored(labels: Array, count: int, ignored: Array) -> Array:
    """Whether a pixel of the part has an ignored one among its eight neighbours; bool (count,)."""
    near = cv2.dilate(ignored.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)) > 0
    touches = np.zeros(count + 1, dtype=bool)
    touches[labels[near]] = True
    return touches[1:]


def confusions(labels: Array, own_class: Array, classes: Array) -> dict[str, Array]:
    """Which other classes cover every part, and on how many pixels.

    Args:
        labels: unsigned (height, width): the part that each pixel belongs to.
        own_class: class of every part, shape (count,).
        classes: unsigned (height, width): class + 1, or 0 where ignored.

    Returns:
        ``confused_class`` and ``confused_px``: for every part an array of the other classes, ascending, and an array of
        their pixels. ``top_confusion``: the one that covers most of the part, the lowest of several, or -1 if there is
        none.
    """
    start, length = runs(labels, classes)
    label, other = labels.ravel()[start].astype(np.int64), classes.ravel()[start].astype(np.int64) - 1
    counted = (label > 0) & (other != np.append(-1, own_class)[label])
    base = int(classes.max(initial=0)) + 1
    pairs, pair = np.unique(label[counted] * base + other[counted], return_inverse=True)
    pixels = sum_by(pair, length[counted], len(pairs))
    part, other = np.divmod(pairs, base)
    ascending = np.lexsort((-pairs, pixels))  # what is written last stays: most pixels, then the lowest class
    most = np.full(len(own_class) + 1, -1, dtype=np.int64)
    most[part[ascending]] = other[ascending]
    ends = np.searchsorted(part, np.arange(1, len(own_class) + 2))
    return {
        "top_confusion": most[1:],
        "confused_class": _cut(other.astype(np.int16), ends),
        "confused_px": _cut(pixels.astype(np.int32), ends),
    }


def _cut(values: Array, ends: Array) -> Array:
    """An array of arrays: the values between each end and the next."""
    cut = np.empty(len(ends) - 1, dtype=object)
    for number, (low, high) in enumerate(pairwise(ends)):
        cut[number] = values[low:high]
    return cut
