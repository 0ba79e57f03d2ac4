"""Find the object with the nearest true positive, for many false positives of many regions at once. Exact, with ties.

A Euclidean distance transform could answer this for one region, but it processes the whole bounding box of the region
and reports only one of several equally near pixels. Here all regions share one quadtree over their false positives (the
*queries*). Each square of the tree keeps the true positives (the *sites*) that may be nearest to one of its pixels.
Once these all belong to one object, the whole square is decided. The work therefore grows with the length of the
borders between the zones of the objects, not with the area.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from segattn.objects.ground_truth import Array, ranges

IntArray = npt.NDArray[np.integer[Any]]

CHUNK = 1 << 16
"""Pairs of a square and a site to process together. Bounds the memory; does not change any result."""


class Sites(NamedTuple):
    """Pixels that own the queries nearest to them, sorted by group."""

    group: IntArray  # sites only compete for queries of the same group
    y: IntArray
    x: IntArray
    rank: IntArray  # of the object; if objects tie, the lowest rank wins


class _Squares(NamedTuple):
    """Squares of the tree with at least one query. Each field has one value per square."""

    y: IntArray  # first row
    x: IntArray  # first column
    key: IntArray  # key of the first pixel
    level: IntArray  # the side is 2**level
    start: IntArray  # position of the first query among the sorted keys
    stop: IntArray  # position after the last query
    sites: IntArray  # number of sites that may be nearest to one of the pixels

    def take(self, index: Any) -> "_Squares":
        return _Squares(*(field[index] for field in self))


class QuadKeys:
    """Sort keys of pixels: the group, then the interleaved bits of row and column (Morton order).

    In this order every square of the tree is one range of keys, and its quarters are four consecutive ranges.

    Args:
        shape: height and width of the image.
        groups: number of groups.
    """

    def __init__(self, shape: tuple[int, int], groups: int) -> None:
        self.bits = max(1, int(max(shape) - 1).bit_length())
        self.dtype = np.dtype(np.int32 if groups << 2 * self.bits <= np.iinfo(np.int32).max else np.int64)
        numbers = np.arange(1 << self.bits, dtype=self.dtype)
        self.spread = np.zeros_like(numbers)  # the bits of each number with a zero between any two
        for bit in range(self.bits):
            self.spread |= (numbers >> bit & 1) << 2 * bit

    def encode(self, y: IntArray, x: IntArray) -> IntArray:
        """Keys of pixels of group 0."""
        keys: IntArray = (self.spread[y] << 1) | self.spread[x]
        return keys

    def group(self, keys: IntArray) -> IntArray:
        """Group of each key."""
        return keys >> 2 * self.bits

    def first(self, group: IntArray) -> IntArray:
        """Smallest key of each group. Added to a key of group 0, it gives the key of the same pixel in the group."""
        return group.astype(self.dtype) << 2 * self.bits

    def decode(self, keys: IntArray) -> tuple[IntArray, IntArray]:
        """Row and column of each key."""
        y, x = np.zeros_like(keys), np.zeros_like(keys)
        for bit in range(self.bits):
            y |= (keys >> 2 * bit + 1 & 1) << bit
            x |= (keys >> 2 * bit & 1) << bit
        return y, x


def nearest_ranks(keys: IntArray, sites: Sites, quad: QuadKeys) -> tuple[IntArray, IntArray]:
    """Find the object that owns the site nearest to each query, given by its sorted key.

    Returns:
        The queries in runs with one owner each: position of the first key of each run, ascending, and owner's rank.
    """
    scale = np.dtype(np.int32 if quad.bits <= 14 else np.int64)  # must hold four times a squared distance
    y2, x2 = 2 * sites.y.astype(scale), 2 * sites.x.astype(scale)
    starts, ranks = [], []
    pending = [_roots(keys, sites, quad)]
    while pending:
        squares, candidates = pending.pop()
        # 1. Too many pairs for one step: process the two halves one after the other.
        if len(candidates) > CHUNK and len(squares.key) > 1:
            half = len(squares.key) // 2
            cut = int(squares.sites[:half].sum())
            pending.append((squares.take(slice(half, None)), candidates[cut:]))
            pending.append((squares.take(slice(half)), candidates[:cut]))
            continue
        # 2. Drop the sites that cannot be nearest to any pixel of their square.
        squares, candidates = _prune(squares, candidates, y2, x2)
        # 3. Decide the squares whose remaining sites belong to one object. Of a single pixel only the nearest sites
        #    remain, so ties are decided by rank.
        offsets = np.cumsum(squares.sites) - squares.sites
        rank = sites.rank[candidates]
        best = np.minimum.reduceat(rank, offsets)
        decided = (best == np.maximum.reduceat(rank, offsets)) | (squares.level == 0)
        starts.append(squares.start[decided])
        ranks.append(best[decided])
        # 4. Quarter the others.
        if not decided.all():
            pending.append(_split(squares, candidates, np.flatnonzero(~decided), keys))
    start, rank = np.concatenate(starts), np.concatenate(ranks)
    order = np.argsort(start)
    return start[order], rank[order]


def _roots(keys: IntArray, sites: Sites, quad: QuadKeys) -> tuple[_Squares, npt.NDArray[np.intp]]:
    """For each group, the smallest square of the tree that contains all queries, with all sites of the group."""
    groups = np.arange(quad.group(keys[:1])[0], quad.group(keys[-1:])[0] + 1)
    start = np.searchsorted(keys, quad.first(groups))
    stop = np.searchsorted(keys, quad.first(groups + 1))
    filled = stop > start
    groups, start, stop = groups[filled], start[filled], stop[filled]
    # The keys of a square differ in their lowest 2 * level bits only, and the first and last key differ most.
    differing = keys[start] ^ keys[stop - 1]
    level = (np.frexp(differing.astype(np.float64))[1].astype(keys.dtype) + 1) // 2
    first = np.searchsorted(sites.group, groups)
    count = np.searchsorted(sites.group, groups, side="right") - first
    key = keys[start] >> 2 * level << 2 * level
    return _Squares(*quad.decode(key), key, level, start, stop, count), ranges(first, count)


def _prune(
    squares: _Squares, candidates: npt.NDArray[np.intp], y2: IntArray, x2: IntArray
) -> tuple[_Squares, npt.NDArray[np.intp]]:
    """Drop the sites that are not nearest to any pixel of their square.

    Let s be the site nearest to the center of the square, and t another site. At a point p, the squared distance to t
    minus that to s is ``f(p) = |p - t|² - |p - s|²``. It is linear in p, because |p|² cancels. Over the square it is
    smallest in a corner: ``f(center) - span * (|ty - sy| + |tx - sx|)``, where span is the distance between the first
    and last row. If that is positive, s is nearer than t everywhere in the square. Lengths are doubled, which makes the
    center an integer and turns span into ``2 * span``.
    """
    count = squares.sites
    offsets = np.cumsum(count) - count
    span = ((1 << squares.level) - 1).astype(y2.dtype)
    y, x = y2[candidates], x2[candidates]
    # f(center) of each site, with s the nearest site of its square
    dy = y - np.repeat((2 * squares.y + span).astype(y2.dtype), count)
    dx = x - np.repeat((2 * squares.x + span).astype(y2.dtype), count)
    farther = dy * dy + dx * dx
    farther -= np.repeat(np.minimum.reduceat(farther, offsets), count)
    # the first site of each square with f(center) = 0 is s
    zeros = np.flatnonzero(farther == 0)
    nearest = zeros[np.searchsorted(zeros, offsets)]
    reach = np.abs(y - np.repeat(y[nearest], count)) + np.abs(x - np.repeat(x[nearest], count))
    keep = farther <= np.repeat(2 * span, count) * reach
    return squares._replace(sites=np.add.reduceat(keep, offsets, dtype=np.intp)), candidates[keep]


def _split(
    squares: _Squares, candidates: npt.NDArray[np.intp], chosen: IntArray, keys: IntArray
) -> tuple[_Squares, npt.NDArray[np.intp]]:
    """Quarter the chosen squares. A quarter inherits the sites; quarters without queries are dropped."""
    offsets = np.cumsum(squares.sites) - squares.sites
    level = squares.level[chosen] - 1
    key = squares.key[chosen, None] + (np.arange(4, dtype=keys.dtype) << 2 * level[:, None])
    start = np.searchsorted(keys, key)
    stop = np.append(start[:, 1:], squares.stop[chosen, None], axis=1)
    parent, quarter = np.nonzero(stop > start)
    count = squares.sites[chosen[parent]]
    children = _Squares(
        y=squares.y[chosen[parent]] + ((quarter >> 1) << level[parent]),
        x=squares.x[chosen[parent]] + ((quarter & 1) << level[parent]),
        key=key[parent, quarter],
        level=level[parent],
        start=start[parent, quarter],
        stop=stop[parent, quarter],
        sites=count,
    )
    return children, candidates[ranges(offsets[chosen[parent]], count)]


def outer_sites(held: Array) -> npt.NDArray[np.intp]:
    """Flat positions of the true positives that can be nearest to a false positive.

    These are the ones with a different value above, below, left or right. Seen from anywhere, one of the four neighbors
    of any other pixel is nearer than the pixel itself.

    Args:
        held: (height, width): class + 1 of true positives, 0 elsewhere.
    """
    rim = np.zeros(held.shape, dtype=bool)
    below = held[1:] != held[:-1]
    right = held[:, 1:] != held[:, :-1]
    rim[1:] |= below
    rim[:-1] |= below
    rim[:, 1:] |= right
    rim[:, :-1] |= right
    return np.flatnonzero(rim & (held > 0))
