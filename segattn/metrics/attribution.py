"""Which object every false positive belongs to, and the counts by object size that follow.

A false positive of a region without true positives stands free. Any other goes to the object with the nearest true
positive *of its region* (Euclidean, between pixel centres; of two tied objects to the larger one, then to the one whose
first pixel comes first in row-major order). One region charges an object at most the object's own area; what is left
over stands free. The full definition is in ``docs/object_size.md``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segattn.metrics.nearest import QuadKeys, Sites, nearest_ranks
from segattn.metrics.overlap import Overlap, find_overlap
from segattn.metrics.sites import outer_sites
from segattn.objects.target_objects import Array, TargetObjects, pieces, sum_by


@dataclass(frozen=True)
class Contested:
    """False positives of the regions that hold true positives of two or more objects, in pieces with one owner each.

    Attributes:
        keys: sorted key of every such pixel.
        quad: what the keys were made with.
        start: position of every piece's first key.
        region: region of every piece.
        label: owning object of every piece.
    """

    keys: Array
    quad: QuadKeys
    start: Array
    region: Array
    label: Array

    @property
    def pixels(self) -> Array:
        """How many pixels each piece has."""
        return np.diff(self.start, append=len(self.keys))


@dataclass(frozen=True)
class Shares:
    """How many false positives of a region go to which object, one value per pair of a region and an object.

    Attributes:
        region: the region.
        label: the object.
        pixels: number of the region's false positives that go to the object, at least 1.
        contested: the pixels of the regions where there was a choice; None if there is no such region.
    """

    region: Array
    label: Array
    pixels: Array
    contested: Contested | None


@dataclass(frozen=True)
class LeftOver:
    """What regions would charge objects beyond the objects' own areas: free-standing, one value per row.

    Attributes:
        region: the region.
        label: the object.
        size: pixels of the region that go to the object.
        fp: those above the object's area.
    """

    region: Array
    label: Array
    size: Array
    fp: Array


def share_false_positives(overlap: Overlap, objects: TargetObjects) -> Shares:
    """Give every false positive of a region with true positives to an object."""
    chosen = (overlap.region_fp > 0) & (overlap.owner > 0)
    region = np.flatnonzero(chosen & ~overlap.shared)
    label, pixels = overlap.owner[region].astype(np.int64), overlap.region_fp[region].astype(np.int64)
    chosen &= overlap.shared
    if not chosen.any():
        return Shares(region, label, pixels, None)
    contested = _contest(overlap, objects, np.flatnonzero(chosen))
    pairs, pair = np.unique(contested.region * len(objects.size) + contested.label, return_inverse=True)
    region = np.append(region, pairs // len(objects.size))
    label = np.append(label, pairs % len(objects.size))
    pixels = np.append(pixels, sum_by(pair, contested.pixels, len(pairs)))
    return Shares(region, label, pixels, contested)


def charge(shares: Shares, objects: TargetObjects) -> tuple[npt.NDArray[np.int64], LeftOver]:
    """Charge every object at most its own area by one region.

    Returns:
        False positives of every object, shape (n + 1,), and what is left over.
    """
    area = objects.size[shares.label]
    fp = sum_by(shares.label, np.minimum(shares.pixels, area), len(objects.size))
    over = shares.pixels > area
    size = shares.pixels[over]
    return fp, LeftOver(shares.region[over], shares.label[over], size, size - area[over])


def size_counts(prediction: Array, objects: TargetObjects, edges: Array, num_classes: int) -> npt.NDArray[np.int64]:
    """Count one image by size.

    Args:
        prediction: class indices, shape (height, width); any value where the target is ignored.
        objects: the target's objects.
        edges: ascending areas in pixels; bin i holds edges[i - 1] <= size < edges[i].
        num_classes: number of classes.

    Returns:
        Counts [classes, len(edges) + 1, 4]: true positives, false positives, false negatives, ground-truth objects.

    Raises:
        ValueError: if a pixel that counts holds a class outside 0..num_classes-1, or the shapes differ.
    """
    overlap = find_overlap(prediction, objects, num_classes)
    fp, over = charge(share_false_positives(overlap, objects), objects)
    bins = len(edges) + 1
    cells = num_classes * bins
    tp, size = overlap.tp[1:], objects.size[1:]
    cell = objects.class_id[1:] * bins + _bins(size, edges)
    columns = [sum_by(cell, values, cells) for values in (tp, fp[1:], size - tp, np.ones_like(tp))]
    columns[1] += sum_by(overlap.class_ids(over.region) * bins + _bins(over.size, edges), over.fp, cells)
    for free in overlap.free_regions():
        size = overlap.region_fp[free]
        columns[1] += sum_by(overlap.class_ids(free) * bins + _bins(size, edges), size, cells)
    return np.stack(columns, axis=-1).reshape(num_classes, bins, 4)


def _bins(size: Array, edges: Array) -> Array:
    """Number of edges that are not above each size; noise has a million parts below the first one."""
    bins = np.zeros(len(size), dtype=np.intp)
    larger = np.flatnonzero(size >= edges[0])
    bins[larger] = np.searchsorted(edges, size[larger], side="right")
    return bins


def _contest(overlap: Overlap, objects: TargetObjects, chosen: Array) -> Contested:
    """Find the owners of the false positives of the chosen regions."""
    quad = QuadKeys(overlap.regions.shape, len(chosen))
    group_of = np.full(len(overlap.owner), -1, dtype=np.int32)
    group_of[chosen] = np.arange(len(chosen))
    keys = _wrong_keys(overlap, group_of, quad)

    site, group = _grouped(outer_sites(overlap.classes * overlap.hit, overlap.classes), overlap.regions, group_of)
    order = np.argsort(group, kind="stable")
    site, group = site[order], group[order]
    by_rank = np.lexsort((np.arange(len(objects.size)), -objects.size))
    rank = np.empty_like(by_rank)
    rank[by_rank] = np.arange(len(by_rank))
    sites = Sites(group, *np.divmod(site, overlap.regions.shape[1]), rank[objects.labels.ravel()[site]])
    start, winner = nearest_ranks(keys, sites, quad)
    return Contested(keys, quad, start, chosen[quad.group(keys[start])], by_rank[winner])


def _grouped(position: Array, regions: Array, group_of: Array) -> tuple[Array, Array]:
    """Those of the flat positions whose region has a group that is not below 0, and their groups."""
    group = group_of[regions.ravel()[position]]
    inside = group >= 0
    return position[inside], group[inside]


def _wrong_keys(overlap: Overlap, group_of: Array, quad: QuadKeys) -> Array:
    """Sorted keys of the false positives of all regions whose group is not below 0."""
    height, width = overlap.regions.shape
    keys = np.empty(int(overlap.region_fp[group_of >= 0].sum()), dtype=quad.dtype)
    filled = 0
    for rows in pieces(height, width):
        position, group = _grouped(np.flatnonzero(~overlap.hit[rows]), overlap.regions[rows], group_of)
        y = position // width  # numpy's divmod is some ten times slower
        keys[filled : filled + len(group)] = quad.encode(group, y + rows.start, position - y * width)
        filled += len(group)
    keys.sort()
    return keys
