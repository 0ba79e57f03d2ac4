"""The attribution of one image: which ground-truth object each pixel counts for.

The definition is in ``docs/object_size.md``. In short:

1. A *region* is an 8-connected component of one predicted class, without ignored pixels.
2. A true positive or false negative belongs to the object at its pixel.
3. A false positive in a region without true positives is free-standing. Otherwise it goes to the object with the
   nearest true positive of the same region (Euclidean distance between pixel centers; ties go to the larger object,
   then to the one whose first pixel comes first in row-major order).
4. *Bounded blame*: a region charges an object at most the object's own area. The excess is free-standing.

Each object and each free-standing false positive is a row (class, size, tp, fp, fn). Counts by size are sums of these
rows, and the object record adds columns to them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segattn.metrics.nearest import QuadKeys, Sites, nearest_ranks, outer_sites
from segattn.objects.target_objects import (
    Array,
    TargetObjects,
    check_same_shape,
    components,
    pieces,
    runs,
    shifted_classes,
    sum_by,
)


@dataclass(frozen=True)
class Regions:
    """The m regions of a prediction, and what they share with the n objects of the ground truth.

    Attributes:
        classes: unsigned (height, width): predicted class + 1, or 0 where the ground truth is ignored.
        labels: unsigned (height, width): the region at each pixel, from 1, or 0 where ignored.
        hit: bool (height, width): true positives.
        region_class: class + 1 of each region, shape (m + 1,). In all tables entry 0 stands for the ignored pixels.
        region_fp: false positives in each region, shape (m + 1,).
        owner: an object with true positives in the region, or 0, shape (m + 1,).
        shared: whether several objects have true positives in the region, shape (m + 1,).
        tp: true positives of each object, shape (n + 1,).
    """

    classes: Array
    labels: Array
    hit: Array
    region_class: Array
    region_fp: Array
    owner: Array
    shared: Array
    tp: Array


class Contested(NamedTuple):
    """The false positives of all shared regions, sorted into pieces with one owner each.

    Attributes:
        keys: sorted key of each pixel.
        quad: decodes the keys.
        start: position of the first key of each piece.
        region: region of each piece.
        label: owner of each piece.
    """

    keys: Array
    quad: QuadKeys
    start: Array
    region: Array
    label: Array

    @property
    def pixels(self) -> Array:
        """Number of pixels of each piece."""
        return np.diff(self.start, append=len(self.keys))


@dataclass(frozen=True)
class Attribution:
    """The rows of one image: the n objects, then the free-standing false positives.

    The free-standing false positives are first the regions without true positives, then the excess of bounded blame.

    Attributes:
        class_id: class of each row.
        size: area of the object, or number of pixels of the false positive.
        fp: false positives of each row.
        tp: true positives of each object, shape (n,). Free-standing false positives have none.
        fn: false negatives of each object, shape (n,).
        free: bool (m + 1,): regions without true positives.
        excess_region: region of each excess.
        excess_owner: object that was charged its own area and left this excess.
        objects: of the ground truth.
        regions: of the prediction.
        contested: false positives of the shared regions; None if there are none.
    """

    class_id: Array
    size: Array
    fp: Array
    tp: Array
    fn: Array
    free: Array
    excess_region: Array
    excess_owner: Array
    objects: TargetObjects
    regions: Regions
    contested: Contested | None


def attribute(prediction: Array, objects: TargetObjects, num_classes: int) -> Attribution:
    """Attribute every pixel of one image.

    Args:
        prediction: class indices, shape (height, width). Values at ignored pixels have no effect.
        objects: of the ground truth.
        num_classes: number of classes.

    Raises:
        ValueError: if the shapes differ, or a pixel that is not ignored has a class outside 0..num_classes-1.
    """
    regions = find_regions(prediction, objects, num_classes)
    region, owner, pixels, contested = _assign(regions, objects)
    area = objects.size[owner]
    charged = sum_by(owner, np.minimum(pixels, area), len(objects.size))  # bounded blame
    excess = pixels > area
    region, owner, pixels, area = region[excess], owner[excess], pixels[excess], area[excess]
    free = (regions.owner == 0) & (regions.region_fp > 0)
    # Noise has a million free-standing false positives, hence 32-bit integers.
    classes = [objects.class_id[1:], regions.region_class[free] - 1, regions.region_class[region] - 1]
    size = np.concatenate([objects.size[1:], regions.region_fp[free], pixels], dtype=np.int32)
    fp = size.copy()
    fp[: len(charged) - 1] = charged[1:]
    fp[len(fp) - len(area) :] -= area
    return Attribution(
        class_id=np.concatenate(classes, dtype=np.int32),
        size=size,
        fp=fp,
        tp=regions.tp[1:],
        fn=objects.size[1:] - regions.tp[1:],
        free=free,
        excess_region=region,
        excess_owner=owner,
        objects=objects,
        regions=regions,
        contested=contested,
    )


def size_counts(rows: Attribution, edges: Array, num_classes: int) -> npt.NDArray[np.int64]:
    """Sum the rows of one image by class and size.

    Args:
        rows: of the image.
        edges: ascending areas in pixels; bin i holds edges[i - 1] <= size < edges[i].
        num_classes: number of classes.

    Returns:
        Counts [classes, len(edges) + 1, 4]: true positives, false positives, false negatives, ground-truth objects.
    """
    bins = len(edges) + 1
    counts = np.zeros((4, num_classes * bins), dtype=np.int64)
    for piece in pieces(len(rows.size)):
        cell = rows.class_id[piece] * bins + np.searchsorted(edges, rows.size[piece], side="right")
        counts[1] += sum_by(cell, rows.fp[piece], counts.shape[1])
        tp, fn = rows.tp[piece], rows.fn[piece]
        for column, values in ((0, tp), (2, fn), (3, np.ones_like(tp))):
            counts[column] += sum_by(cell[: len(tp)], values, counts.shape[1])
    return np.ascontiguousarray(counts.T).reshape(num_classes, bins, 4)


def find_regions(prediction: Array, objects: TargetObjects, num_classes: int) -> Regions:
    """Label the regions of a prediction and count what they share with the objects; see :func:`attribute`."""
    check_same_shape(tuple(prediction.shape), tuple(objects.labels.shape))
    classes = shifted_classes("prediction", prediction, objects.classes != 0, num_classes)
    labels = components(classes)
    count = int(labels.max(initial=0)) + 1
    regions = Regions(
        classes=classes,
        labels=labels,
        hit=(classes == objects.classes) & (classes != 0),
        region_class=np.zeros(count, dtype=classes.dtype),
        region_fp=np.zeros(count, dtype=np.int32),
        owner=np.zeros(count, dtype=objects.labels.dtype),
        shared=np.zeros(count, dtype=bool),
        tp=np.zeros(len(objects.size), dtype=np.int64),
    )
    for rows in pieces(*labels.shape):
        _count(regions, objects, rows)
    regions.region_fp[0] = 0  # ignored pixels
    return regions


def _count(regions: Regions, objects: TargetObjects, rows: slice) -> None:
    """Add some rows of the maps to the tables of the regions, run by run."""
    labels = objects.labels[rows]
    start, length = runs(labels, regions.labels[rows])
    region = regions.labels[rows].ravel()[start].astype(np.intp)
    regions.region_class[region] = regions.classes[rows].ravel()[start]
    is_hit = regions.hit[rows].ravel()[start]
    hit, wrong = np.flatnonzero(is_hit), np.flatnonzero(~is_hit)
    np.add.at(regions.region_fp, region[wrong], length[wrong].astype(np.int32))

    region, label = region[hit], labels.ravel()[start[hit]]
    np.add.at(regions.tp, label, length[hit])
    # A region is shared if it had another owner in earlier rows, or has several in these: the assignment keeps the
    # last of them, which the others then differ from.
    earlier = regions.owner[region]
    regions.shared[region[(earlier != 0) & (earlier != label)]] = True
    regions.owner[region] = label
    regions.shared[region[regions.owner[region] != label]] = True


def _assign(regions: Regions, objects: TargetObjects) -> tuple[Array, Array, Array, Contested | None]:
    """Give every false positive of a region with true positives to an object.

    Returns:
        One entry per pair of a region and an object: region, object, and number of pixels, at least 1. Then the pixels
        for which there was a choice.
    """
    chosen = (regions.region_fp > 0) & (regions.owner > 0)
    region = np.flatnonzero(chosen & ~regions.shared)
    owner, pixels = regions.owner[region].astype(np.int64), regions.region_fp[region].astype(np.int64)
    shared = np.flatnonzero(chosen & regions.shared)
    if not len(shared):
        return region, owner, pixels, None
    contested = _contest(regions, objects, shared)
    count = len(objects.size)
    pairs, pair = np.unique(contested.region * count + contested.label, return_inverse=True)
    region, owner = np.append(region, pairs // count), np.append(owner, pairs % count)
    return region, owner, np.append(pixels, sum_by(pair, contested.pixels, len(pairs))), contested


def _contest(regions: Regions, objects: TargetObjects, shared: Array) -> Contested:
    """Find the owners of the false positives of the shared regions."""
    # The search works on numbers: a region is a group, an object is its rank in the order in which ties are decided.
    quad = QuadKeys(regions.labels.shape, len(shared))
    group_of = np.full(len(regions.owner), -1, dtype=np.int32)
    group_of[shared] = np.arange(len(shared))
    by_rank = np.lexsort((np.arange(len(objects.size)), -objects.size))
    rank = np.empty_like(by_rank)
    rank[by_rank] = np.arange(len(by_rank))

    keys = _false_positive_keys(regions, group_of, quad)
    site = outer_sites(regions.classes * regions.hit, regions.classes)
    site, group = _grouped(site, regions.labels, group_of)
    order = np.argsort(group, kind="stable")
    site, group = site[order], group[order]
    sites = Sites(group, *np.divmod(site, regions.labels.shape[1]), rank[objects.labels.ravel()[site]])
    start, winner = nearest_ranks(keys, sites, quad)
    return Contested(keys, quad, start, shared[quad.group(keys[start])], by_rank[winner])


def _false_positive_keys(regions: Regions, group_of: Array, quad: QuadKeys) -> Array:
    """Sorted keys of the false positives of all regions with a group."""
    height, width = regions.labels.shape
    keys = np.empty(int(regions.region_fp[group_of >= 0].sum()), dtype=quad.dtype)
    filled = 0
    for rows in pieces(height, width):
        position, group = _grouped(np.flatnonzero(~regions.hit[rows]), regions.labels[rows], group_of)
        y = position // width  # np.divmod is about ten times slower
        keys[filled : filled + len(group)] = quad.encode(group, y + rows.start, position - y * width)
        filled += len(group)
    keys.sort()
    return keys


def _grouped(position: Array, labels: Array, group_of: Array) -> tuple[Array, Array]:
    """The flat positions whose region has a group (>= 0), and their groups."""
    group = group_of[labels.ravel()[position]]
    inside = group >= 0
    return position[inside], group[inside]
