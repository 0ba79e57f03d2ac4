"""Which object owns the nearest site: exact, ties included, for many pixels and many regions at once.

A false-positive pixel goes to the object with the nearest true-positive pixel *of the same region*. A distance
transform answers that for one region, costs its whole bounding box and reports one of several equally near sites. Here
all regions share one quadtree over their query pixels. Every square keeps the sites that may be nearest to one of its
pixels; as soon as they all belong to one object, the square is decided as a whole, so that the work follows the borders
between the objects' zones, not the area.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer[Any]]

CHUNK = 1 << 16
"""Pairs of a square and a site looked at together: bounds the memory, changes no result."""


class Sites(NamedTuple):
    """Pixels that own the queries nearest to them, sorted by group.

    Attributes:
        group: queries meet the sites of their own group only.
        y: row of each site.
        x: column of each site.
        rank: rank of the object that the site belongs to; of equally near objects the lowest rank wins.
    """

    group: IntArray
    y: IntArray
    x: IntArray
    rank: IntArray


class _Squares(NamedTuple):
    """Squares with at least one query; every field has one value per square.

    Attributes:
        y: first row.
        x: first column.
        key: key of the first row and column.
        level: the side is ``2**level``.
        start: position of the square's first query among all sorted keys.
        stop: position after its last query.
        sites: number of sites that may be nearest to one of its pixels.
    """

    y: IntArray
    x: IntArray
    key: IntArray
    level: IntArray
    start: IntArray
    stop: IntArray
    sites: IntArray

    def take(self, index: Any) -> "_Squares":
        return _Squares(*(field[index] for field in self))


class QuadKeys:
    """Sort keys of pixels: the group, then the interleaved bits of row and column, so that a square is a range of keys.

    Args:
        shape: height and width of the image.
        groups: number of groups.
    """

    def __init__(self, shape: tuple[int, int], groups: int) -> None:
        self.bits = max(1, int(max(shape) - 1).bit_length())
        self.dtype = np.dtype(np.int32 if groups << 2 * self.bits <= np.iinfo(np.int32).max else np.int64)
        numbers = np.arange(1 << self.bits, dtype=self.dtype)
        self.spread = np.zeros_like(numbers)
        for bit in range(self.bits):
            self.spread |= (numbers >> bit & 1) << 2 * bit

    def encode(self, group: IntArray, y: IntArray, x: IntArray) -> IntArray:
        """Keys of pixels."""
        keys = self.spread[y]
        keys <<= 1
        keys |= self.spread[x]
        keys |= self.first(group)
        return keys

    def group(self, keys: IntArray) -> IntArray:
        """The group that each key starts with."""
        return keys >> 2 * self.bits

    def first(self, group: IntArray) -> IntArray:
        """The smallest key of each group."""
        return group.astype(self.dtype) << 2 * self.bits

    def decode(self, keys: IntArray) -> tuple[IntArray, IntArray]:
        """Row and column of each key."""
        y, x = np.zeros_like(keys), np.zeros_like(keys)
        for bit in range(self.bits):
            y |= (keys >> 2 * bit + 1 & 1) << bit
            x |= (keys >> 2 * bit & 1) << bit
        return y, x


def nearest_ranks(keys: IntArray, sites: Sites, quad: QuadKeys) -> tuple[IntArray, IntArray]:
    """Find the object that owns the nearest site of every query.

    Args:
        keys: sorted :class:`QuadKeys` of the queries. Every group has at least one site.
        sites: the owners.
        quad: what the keys were made with.

    Returns:
        The queries in runs with one owner each: position of every run's first key, ascending, and the owner's rank.
    """
    scale = np.dtype(np.int32 if quad.bits <= 14 else np.int64)  # four times a squared distance fits
    y2, x2 = 2 * sites.y.astype(scale), 2 * sites.x.astype(scale)
    starts, ranks = [], []
    pending = [_roots(keys, sites, quad)]
    while pending:
        squares, candidates = pending.pop()
        if len(candidates) > CHUNK and len(squares.key) > 1:
            half = len(squares.key) // 2
            cut = int(squares.sites[:half].sum())
            pending.append((squares.take(slice(half, None)), candidates[cut:]))
            pending.append((squares.take(slice(half)), candidates[:cut]))
            continue
        squares, candidates = _prune(squares, candidates, y2, x2)
        offsets = np.cumsum(squares.sites) - squares.sites
        rank = sites.rank[candidates]
        best = np.minimum.reduceat(rank, offsets)
        decided = (best == np.maximum.reduceat(rank, offsets)) | (squares.level == 0)
        starts.append(squares.start[decided])
        ranks.append(best[decided])
        if not decided.all():
            pending.append(_split(squares, candidates, np.flatnonzero(~decided), keys))
    start, rank = np.concatenate(starts), np.concatenate(ranks)
    order = np.argsort(start)
    return start[order], rank[order]


def ranges(start: IntArray, count: IntArray) -> npt.NDArray[np.intp]:
    """Concatenate the ranges ``start, start + 1, ..., start + count - 1``."""
    offsets = np.cumsum(count) - count
    return np.repeat(start - offsets, count) + np.arange(int(count.sum()))


def _roots(keys: IntArray, sites: Sites, quad: QuadKeys) -> tuple[_Squares, npt.NDArray[np.intp]]:
    """One square per group: the smallest of the tree that holds all its queries."""
    groups = np.arange(quad.group(keys[:1])[0], quad.group(keys[-1:])[0] + 1)
    start = np.searchsorted(keys, quad.first(groups))
    stop = np.searchsorted(keys, quad.first(groups + 1))
    filled = stop > start
    groups, start, stop = groups[filled], start[filled], stop[filled]
    differing = keys[start] ^ keys[stop - 1]
    level = (np.frexp(differing.astype(np.float64))[1].astype(keys.dtype) + 1) // 2
    first = np.searchsorted(sites.group, groups)
    count = np.searchsorted(sites.group, groups, side="right") - first
    key = keys[start] >> 2 * level << 2 * level
    return _Squares(*quad.decode(key), key, level, start, stop, count), ranges(first, count)


def _prune(
    squares: _Squares, candidates: npt.NDArray[np.intp], y2: IntArray, x2: IntArray
) -> tuple[_Squares, npt.NDArray[np.intp]]:
    """Drop the sites that are nearest to no pixel of their square.

    Let s be the site nearest to the square's centre. How much farther than s another site is, in squared distance, is
    a linear function of the position, so its minimum over the square lies in a corner. All lengths are doubled here,
    which makes the centre an integer.
    """
    count = squares.sites
    offsets = np.cumsum(count) - count
    span = ((1 << squares.level) - 1).astype(y2.dtype)
    y, x = y2[candidates], x2[candidates]
    dy = y - np.repeat((2 * squares.y + span).astype(y2.dtype), count)
    dx = x - np.repeat((2 * squares.x + span).astype(y2.dtype), count)
    farther = dy * dy + dx * dx
    farther -= np.repeat(np.minimum.reduceat(farther, offsets), count)
    zeros = np.flatnonzero(farther == 0)
    nearest = zeros[np.searchsorted(zeros, offsets)]
    reach = np.abs(y - np.repeat(y[nearest], count)) + np.abs(x - np.repeat(x[nearest], count))
    keep = farther <= np.repeat(2 * span, count) * reach
    return squares._replace(sites=np.add.reduceat(keep, offsets, dtype=np.intp)), candidates[keep]


def _split(
    squares: _Squares, candidates: npt.NDArray[np.intp], chosen: IntArray, keys: IntArray
) -> tuple[_Squares, npt.NDArray[np.intp]]:
    """Quarter the chosen squares, each quarter with its parent's sites; quarters without a query vanish."""
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
