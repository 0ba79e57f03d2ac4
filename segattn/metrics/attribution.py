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
from segattn.metrics.objects import Array, TargetObjects, pieces, sum_by
from segattn.metrics.overlap import Overlap, find_overlap
from segattn.metrics.sites import outer_sites


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
class FreeStanding:
    """Free-standing false positives, one value per row.

    Attributes:
        region: the region that they are, or that they are left over from.
        label: 0, or the object that the region had already charged its own area.
        class_id: class of the region.
        size: area of the region, or the pixels of the region that go to the object.
        fp: pixels that the row counts.
    """

    region: Array
    label: Array
    class_id: Array
    size: Array
    fp: Array


def share_false_positives(overlap: Overlap, objects: TargetObjects) -> Shares:
    """Give every false positive of a region with true positives to an object."""
    wrong = overlap.region_size - overlap.region_tp
    wrong[0] = 0
    chosen = (wrong > 0) & (overlap.owner > 0)
    alone = np.flatnonzero(chosen & ~overlap.shared)
    region, label, pixels = alone, overlap.owner[alone].astype(np.int64), wrong[alone]
    chosen &= overlap.shared
    if not chosen.any():
        return Shares(region, label, pixels, None)
    contested = _contest(overlap, objects, chosen)
    pairs, pair = np.unique(contested.region * len(objects.size) + contested.label, return_inverse=True)
    region = np.append(region, pairs // len(objects.size))
    label = np.append(label, pairs % len(objects.size))
    pixels = np.append(pixels, sum_by(pair, contested.pixels, len(pairs)))
    return Shares(region, label, pixels, contested)


def charge(overlap: Overlap, shares: Shares, objects: TargetObjects) -> tuple[npt.NDArray[np.int64], FreeStanding]:
    """Charge every object at most its own area by one region; what is left over stands free.

    Returns:
        False positives of every object, shape (n + 1,), and the free-standing ones.
    """
    area = objects.size[shares.label]
    fp = sum_by(shares.label, np.minimum(shares.pixels, area), len(objects.size))
    over = shares.pixels > area
    free = np.flatnonzero((overlap.owner == 0) & (overlap.region_class > 0))
    region = np.append(free, shares.region[over])
    return fp, FreeStanding(
        region=region,
        label=np.append(np.zeros_like(free), shares.label[over]),
        class_id=overlap.region_class[region].astype(np.int64) - 1,
        size=np.append(overlap.region_size[free], shares.pixels[over]),
        fp=np.append(overlap.region_size[free], shares.pixels[over] - area[over]),
    )


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
    fp, free = charge(overlap, share_false_positives(overlap, objects), objects)
    bins = len(edges) + 1
    cells = num_classes * bins
    cell = objects.class_id[1:] * bins + _bins(objects.size[1:], edges)
    free_cell = free.class_id * bins + _bins(free.size, edges)
    tp = overlap.tp[1:]
    columns = [sum_by(cell, values, cells) for values in (tp, fp[1:], objects.size[1:] - tp, np.ones_like(tp))]
    columns[1] += sum_by(free_cell, free.fp, cells)
    return np.stack(columns, axis=-1).reshape(num_classes, bins, 4)


def _bins(size: Array, edges: Array) -> Array:
    """Number of edges that are not above each size; noise has a million parts below the first one."""
    bins = np.zeros(len(size), dtype=np.intp)
    larger = np.flatnonzero(size >= edges[0])
    bins[larger] = np.searchsorted(edges, size[larger], side="right")
    return bins


def _in_chosen(position: Array, overlap: Overlap, chosen: Array) -> Array:
    """Those of the flat positions that lie in chosen regions; a map of the whole image would cost more."""
    inside = np.empty(len(position), dtype=bool)
    for piece in pieces(len(position)):
        inside[piece] = chosen[overlap.regions.ravel()[position[piece]]]
    return position[inside]


def _contest(overlap: Overlap, objects: TargetObjects, chosen: Array) -> Contested:
    """Find the owners of the false positives of the chosen regions."""
    height, width = overlap.regions.shape
    quad = QuadKeys((height, width))
    group_of = np.cumsum(chosen) - 1
    hit_classes = overlap.classes * overlap.hit
    wrong = _in_chosen(np.flatnonzero(overlap.classes != hit_classes), overlap, chosen)
    keys = np.empty(len(wrong), dtype=np.int64)
    for piece in pieces(len(wrong)):
        y = wrong[piece] // width  # numpy's divmod is some ten times slower
        keys[piece] = quad.encode(group_of[overlap.regions.ravel()[wrong[piece]]], y, wrong[piece] - y * width)
    del wrong
    keys.sort()

    site = _in_chosen(outer_sites(hit_classes, overlap.classes), overlap, chosen)
    region = overlap.regions.ravel()[site]
    order = np.argsort(group_of[region], kind="stable")
    site, region = site[order], region[order]
    by_rank = np.lexsort((np.arange(len(objects.size)), -objects.size))
    rank = np.empty_like(by_rank)
    rank[by_rank] = np.arange(len(by_rank))
    sites = Sites(group_of[region], *np.divmod(site, width), rank[objects.labels.ravel()[site]])
    start, winner = nearest_ranks(keys, sites, quad)
    return Contested(keys, quad, start, np.flatnonzero(chosen)[quad.group(keys[start])], by_rank[winner])
