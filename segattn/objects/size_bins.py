"""The bins of object size: areas at which the counts are split. No torch.

The fine bins are kept in every tensor of counts; the buckets, whose edges are among the fine ones, are exact
sums of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

COCO_EDGES = (32**2, 96**2)
FINE_EDGES = tuple(side**2 for side in (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512))
_TOO_LARGE = 2**62  # for 64 bits
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


def check_edges(edges: Sequence[int | float], names: Sequence[str], *, relative: bool) -> None:
    """Refuse edges and names of buckets that do not fit together.

    Raises:
        ValueError: if edges do not ascend, are out of range or not finite, or names are too few, too many or equal.
    """
    if not all(math.isfinite(edge) and edge < _TOO_LARGE for edge in edges):
        raise ValueError(f"Edges must be finite and below 2**62, got {list(edges)}.")
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"Edges must ascend, got {list(edges)}.")
    if relative and any(not 0 < edge < 1 for edge in edges):
        raise ValueError(f"Relative edges are fractions of the image's area between 0 and 1, got {list(edges)}.")
    if not relative and any(edge < 1 for edge in edges):
        raise ValueError(f"Edges are areas of at least one pixel, got {list(edges)}; set relative for fractions.")
    if len(names) != len(edges) + 1 or len(set(names)) < len(names):
        raise ValueError(f"{len(edges)} edges need {len(edges) + 1} different bucket names, got {list(names)}.")


@dataclass(frozen=True)
class ObjectSizes:
    """How scores are split by object size; see docs/object_size.md.

    Attributes:
        edges: ascending areas between the buckets in pixels, or fractions of the image's area if ``relative``.
        relative: whether the edges are relative to the image's area.
        names: one per bucket, ascending.
        min_objects: ground-truth objects that a class needs in a bucket to enter the bucket's means.
        every: in ``fit``, split in every n-th validation only, and in the last one.

    Raises:
        ValueError: if a number is out of range, or names and edges do not fit together.
    """

    edges: tuple[float, ...] = COCO_EDGES
    relative: bool = False
    names: tuple[str, ...] = ("small", "medium", "large")
    min_objects: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        check_edges(self.edges, self.names, relative=self.relative)
        if self.min_objects < 1:
            raise ValueError(f"min_objects must be at least 1, got {self.min_objects}.")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}.")
