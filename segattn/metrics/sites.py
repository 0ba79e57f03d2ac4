"""Which true positives can be the nearest one of any false positive: the few that a search has to look at.

A true positive that always has a nearer neighbour of its own region can be left out. That neighbour may be left out
too, but what shields it is nearer still, so a nearest true positive is never lost, nor is a tied one.
"""

from itertools import product

import numpy as np
import numpy.typing as npt

from segattn.objects.target_objects import Array

STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))

STRIP = 64
"""Rows looked at together, so that they stay in the cache."""

DENSE = 1 << 16
"""Sites from which on the closer look of :func:`_shielded` saves more time than it takes; changes no result."""


def outer_sites(held: Array, predicted: Array) -> npt.NDArray[np.intp]:
    """Flat positions of the true positives that can be nearest to a false positive.

    Args:
        held: (height, width): class + 1 on true positives, 0 elsewhere.
        predicted: (height, width): predicted class + 1 of every pixel.
    """
    sites = _rim(held)
    if np.count_nonzero(sites) > DENSE:
        sites &= ~_shielded(held, predicted)
    return np.flatnonzero(sites)


def _rim(held: Array) -> npt.NDArray[np.bool_]:
    """Pixels > 0 with a neighbour above, below, left or right of another value.

    Seen from anywhere, one of the four neighbours of any other pixel is nearer than the pixel itself.
    """
    rim = np.zeros(held.shape, dtype=bool)
    below = held[1:] != held[:-1]
    right = held[:, 1:] != held[:, :-1]
    rim[1:] |= below
    rim[:-1] |= below
    rim[:, 1:] |= right
    rim[:, :-1] |= right
    return rim & (held > 0)


def _shielded(held: Array, predicted: Array) -> npt.NDArray[np.bool_]:
    """Pixels with a neighbour of the same value towards each of the eight directions: checkerboards and noise.

    Seen from a false positive straight to the right, the right neighbour is nearer, and so are the two diagonal ones on
    the right unless the false positive is the right neighbour itself. Seen from anywhere else on the upper right, the
    neighbours above, to the right and between them are nearer. Nothing is seen from outside of the image.
    """
    shielded = np.empty(held.shape, dtype=bool)
    corners, sides, near = np.pad(held, 1), np.pad(held, 1, mode="edge"), np.pad(predicted, 1)
    for top in range(0, held.shape[0], STRIP):
        rows = held[top : top + STRIP]
        corner = {step: _shifted(corners, top, rows, step) == rows for step in product((-1, 1), repeat=2)}
        side = {step: _shifted(sides, top, rows, step) == rows for step in STEPS}
        strip = np.ones(rows.shape, dtype=bool)
        for dy, dx in STEPS:
            both = corner[dy or -1, dx or -1] | corner[dy or 1, dx or 1]
            strip &= side[dy, dx] | both & (_shifted(near, top, rows, (dy, dx)) != rows)
        for dy, dx in corner:
            strip &= corner[dy, dx] | side[dy, 0] | side[0, dx]
        shielded[top : top + STRIP] = strip
    return shielded


def _shifted(padded: Array, top: int, rows: Array, step: tuple[int, ...]) -> Array:
    """What lies one step (dy, dx) from each pixel of the rows from ``top`` on, in a map padded by 1."""
    height, width = rows.shape
    y, x = top + 1 + step[0], 1 + step[1]
    return padded[y : y + height, x : x + width]
