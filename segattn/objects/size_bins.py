"""Size bins: the object areas at which counts are split. No torch.

Counts are kept in fine bins. The edges of the buckets (small, medium, large) are among the fine edges, so that a bucket
is an exact sum of fine bins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from segattn.sample import require_visible_text

COCO_EDGES = (32**2, 96**2)
FINE_EDGES = tuple(side**2 for side in (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512))
RELATIVE_FINE_EDGES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_TOO_LARGE = 2**62  # for int64
_RESERVED = {"all", "things", "name", "class_name"}
"""Names of other scores and of the columns of tables."""


def fine_edges(edges: Sequence[int | float], *, relative: bool) -> tuple[int | float, ...]:
    """Edges of the fine bins, including the edges of the buckets."""
    return tuple(sorted({*(RELATIVE_FINE_EDGES if relative else FINE_EDGES), *edges}))


def pixel_edges(edges: Sequence[int | float], height: int, width: int, *, relative: bool) -> npt.NDArray[np.int64]:
    """Edges in pixels for an image of this size: each edge rounded up."""
    unit = height * width if relative else 1
    return np.array([math.ceil(Fraction(str(edge)) * unit) for edge in edges], dtype=np.int64)


def bucket_cuts(edges: Sequence[int | float], *, relative: bool) -> list[int]:
    """Positions of the buckets among the fine bins: bucket ``b`` is the bins ``cuts[b]`` to ``cuts[b + 1] - 1``."""
    fine = fine_edges(edges, relative=relative)
    return [0, *(fine.index(edge) + 1 for edge in edges), len(fine) + 1]


@dataclass(frozen=True)
class ObjectSizes:
    """How scores are split by object size. See ``docs/object_size.md``.

    Attributes:
        edges: ascending areas between the buckets, in pixels or, if ``relative``, as fractions of the image area. An
            area equal to an edge belongs to the bucket above.
        relative: whether the edges are relative to the image area.
        names: one name per bucket, ascending by size; suffixes of the names of the scores.
        min_objects: ground-truth objects that a class needs in a bucket to enter the means of the bucket.
        every: during ``fit``, split scores in every n-th validation only, and in the last one.

    Examples:
        >>> from segattn.objects import ObjectSizes
        >>> ObjectSizes(edges=(0.001, 0.01), relative=True).names
        ('small', 'medium', 'large')
        >>> ObjectSizes(edges=(1024.0,))
        Traceback (most recent call last):
            ...
        ValueError: 1 edges need 2 different bucket names, got ['small', 'medium', 'large'].
    """

    edges: tuple[float, ...] = COCO_EDGES
    relative: bool = False
    names: tuple[str, ...] = ("small", "medium", "large")
    min_objects: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        """Validate the arguments."""
        edges, names = list(self.edges), list(self.names)
        require_visible_text("bucket name", names)
        if any(low >= high for low, high in pairwise(edges)):
            raise ValueError(f"Edges must be in ascending order, got {edges}.")
        if self.relative and not all(0 < edge < 1 for edge in edges):
            raise ValueError(f"Relative edges are fractions of the image area between 0 and 1, got {edges}.")
        if not self.relative and not all(1 <= edge < _TOO_LARGE for edge in edges):
            raise ValueError(f"Edges are areas of at least one pixel, got {edges}; for fractions set relative.")
        if not edges:
            raise ValueError("Edges must contain at least one area.")
        if len(names) != len(edges) + 1 or len(set(names)) < len(names):
            raise ValueError(f"{len(edges)} edges need {len(edges) + 1} different bucket names, got {names}.")
        if reserved := sorted(_RESERVED.intersection(names)):
            raise ValueError(f"Bucket names must not be {', '.join(sorted(_RESERVED))}, got {reserved[0]}.")
        if self.min_objects < 1 or self.every < 1:
            raise ValueError(f"min_objects and every must be at least 1, got {self.min_objects} and {self.every}.")
