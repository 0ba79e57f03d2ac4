"""Which true positives can be the nearest one of any false positive: the few that a search has to look at.

A true positive that always has a nearer neighbour of its own region can be left out. That neighbour may be left out
too, but what shields it is nearer still, so a nearest true positive is never lost, nor is a tied one.
"""

import numpy as np
import numpy.typing as npt

from segattn.metrics.objects import Array

DENSE = 1 << 16
"""Sites from which on the closer look of :func:`_shielded` saves more time than it takes; changes no result."""


def outer_sites(held: Array, predicted: Array) -> npt.NDArray[np.intp]:
    """Flat positions of the true positives that can be nearest to a false positive.

    Args:
        held: (height, width): class + 1 on the true positives of the regions to look at, 0 elsewhere.
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
    neighbours above, to the right and between them are nearer.
    """
    shielded = np.ones(held.shape, dtype=bool)
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        diagonal = _neighbor(held, (dy or -1, dx or -1), held, outside=False)
        diagonal |= _neighbor(held, (dy or 1, dx or 1), held, outside=False)
        diagonal &= ~_neighbor(held, (dy, dx), predicted, outside=False)
        shielded &= diagonal | _neighbor(held, (dy, dx), held, outside=True)
    for dy, dx in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        corner = _neighbor(held, (dy, dx), held, outside=False)
        corner |= _neighbor(held, (dy, 0), held, outside=True)
        shielded &= corner | _neighbor(held, (0, dx), held, outside=True)
    return shielded


def _neighbor(held: Array, step: tuple[int, int], other: Array, *, outside: bool) -> npt.NDArray[np.bool_]:
    """Whether ``other``, one step (dy, dx) away, has the value of ``held``; ``outside`` where that leaves the image."""
    equal = np.full(held.shape, outside)
    here = tuple(slice(max(0, -d), size - max(0, d)) for d, size in zip(step, held.shape, strict=True))
    there = tuple(slice(max(0, d), size - max(0, -d)) for d, size in zip(step, held.shape, strict=True))
    np.equal(held[here], other[there], out=equal[here])
    return equal
