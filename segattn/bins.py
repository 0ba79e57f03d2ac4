"""The bins of object size: areas at which the counts are split. No torch.

The fine bins are kept in every tensor of counts; the buckets, whose edges are among the fine ones, are exact
sums of them.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

COCO_EDGES = (32**2, 96**2)
FINE_EDGES = tuple(side**2 for side in (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512))
RELATIVE_FINE_EDGES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


def fine_edges(edges: Sequence[int | float], *, relative: bool) -> tuple[int | float, ...]:
    """The edges of the fine bins, the buckets' own ones among them."""
    return tuple(sorted({*(RELATIVE_FINE_EDGES if relative else FINE_EDGES), *edges}))


def pixel_edges(edges: Sequence[int | float], height: int, width: int, *, relative: bool) -> npt.NDArray[np.int64]:
    """Edges for an image of this size: the smallest areas in pixels that lie above each of them."""
    unit = height * width if relative else 1
    return np.array([math.ceil(Fraction(str(edge)) * unit) for edge in edges], dtype=np.int64)


def bucket_cuts(edges: Sequence[int | float], *, relative: bool) -> list[int]:
    """Where the fine bins of a bucket begin and end: the bins of bucket ``b`` are ``cuts[b]`` to ``cuts[b + 1]``."""
    fine = fine_edges(edges, relative=relative)
    return [0, *(fine.index(edge) + 1 for edge in edges), len(fine) + 1]
