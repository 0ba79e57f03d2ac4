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
from segattn.objects.ground_truth import (
    Array,
    TargetObjects,
    check_same_shape,
    components,
    runs,
    shifted_classes,
    sum_by,
)


@dataclass(frozen=True)
class Regions:
    """The m regions of a prediction, and what they share with the n objects of the ground truth.

    Entry 0 of each table stands for the ignored pixels.

    Attributes:
        classes: unsigned (height, width): predicted class + 1, or 0 where the ground truth is ignored.
        labels: unsigned (height, width): the region at each pixel, from 1, or 0 where ignored.
        hit: bool (height, width): true positives.
        class_id: class of each region, shape (m + 1,).
        fp: false positives in each region, shape (m + 1,).
        owner: an object with true positives in the region, or 0, shape (m + 1,).
        shared: whether several objects have true positives in the region, shape (m + 1,).
        tp: true positives of each object, shape (n + 1,).
    """

    classes: Array
    labels: Array
    hit: Array
    class_id: Array
    fp: Array
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
        owner: object of each piece.
    """

    keys: Array
    quad: QuadKeys
    start: Array
    region: Array
    owner: Array

    @property
    def pixels(self) -> Array:
        """Number of pixels of each piece."""
        return np.diff(self.start, append=len(self.keys))


@dataclass(frozen=True)
class Attribution:
    """The rows of one image: the n objects, then the free-standing false positives.

    Attributes:
        class_id: class of each row.
        size: area of the object, or number of pixels of the false positive.
        tp: true positives of each row.
        fp: false positives of each row.
        fn: false negatives of each row.
        region: region of each row, 0 for objects.
        owner: 0, or the object that was charged its own area and left this row as excess.
        objects: of the ground truth.
        regions: of the prediction.
        contested: false positives of the shared regions; None if there are none.
    """

    class_id: Array
    size: Array
    tp: Array
    fp: Array
    fn: Array
    region: Array
    owner: Array
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
    free = np.flatnonzero((regions.owner == 0) & (regions.fp > 0))
    number = len(objects.size) - 1
    tp, none = np.zeros(number + len(free) + len(region), dtype=np.int64), np.zeros(number, dtype=np.int64)
    tp[:number] = regions.tp[1:]
    size = np.concatenate([objects.size[1:], regions.fp[free], pixels])
    rows = np.concatenate([none, free, region])
    return Attribution(
        class_id=np.concatenate([objects.class_id[1:], regions.class_id[rows[number:]]]),
        size=size,
        tp=tp,
        fp=np.concatenate([charged[1:], regions.fp[free], pixels - area]),
        fn=np.where(rows == 0, size - tp, 0),
        region=rows,
        owner=np.concatenate([none, np.zeros_like(free), owner]),
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
    cell = rows.class_id * bins + np.searchsorted(edges, rows.size, side="right")
    columns = (rows.tp, rows.fp, rows.fn, rows.region == 0)
    counts = np.stack([sum_by(cell, values, num_classes * bins) for values in columns], axis=-1)
    return counts.reshape(num_classes, bins, 4)


def find_regions(prediction: Array, objects: TargetObjects, num_classes: int) -> Regions:
    """Label the regions of a prediction and count what they share with the objects; see :func:`attribute`."""
    check_same_shape(tuple(prediction.shape), tuple(objects.labels.shape))
    classes = shifted_classes("prediction", prediction, objects.classes != 0, num_classes)
    labels = components(classes)
    hit = (classes == objects.classes) & (classes != 0)
    # Count run by run. Region and object are constant on a run.
    start, length = runs(objects.labels, labels)
    region, label, is_hit = labels.ravel()[start], objects.labels.ravel()[start], hit.ravel()[start]
    count = int(labels.max(initial=0)) + 1
    class_id = np.full(count, -1, dtype=np.int64)
    class_id[region] = classes.ravel()[start].astype(np.int64) - 1
    fp = sum_by(region[~is_hit], length[~is_hit], count)
    fp[0] = 0  # ignored pixels
    region, label, length = region[is_hit], label[is_hit], length[is_hit]
    # Of several objects in a region the last assignment wins, and the others differ from it.
    owner = np.zeros(count, dtype=np.int64)
    owner[region] = label
    shared = np.zeros(count, dtype=bool)
    shared[region[owner[region] != label]] = True
    tp = sum_by(label, length, len(objects.size))
    return Regions(classes, labels, hit, class_id, fp, owner, shared, tp)


def _assign(regions: Regions, objects: TargetObjects) -> tuple[Array, Array, Array, Contested | None]:
    """Give every false positive of a region with true positives to an object.

    Returns:
        Region, object, and number of pixels (at least 1) of each pair of a region and an object; then the pixels of the
        shared regions.
    """
    chosen = (regions.fp > 0) & (regions.owner > 0)
    region = np.flatnonzero(chosen & ~regions.shared)
    owner, pixels = regions.owner[region], regions.fp[region]
    shared = np.flatnonzero(chosen & regions.shared)
    if not len(shared):
        return region, owner, pixels, None
    contested = _contest(regions, objects, shared)
    count = len(objects.size)
    pairs, pair = np.unique(contested.region * count + contested.owner, return_inverse=True)
    region, owner = np.append(region, pairs // count), np.append(owner, pairs % count)
    return region, owner, np.append(pixels, sum_by(pair, contested.pixels, len(pairs))), contested


def _contest(regions: Regions, objects: TargetObjects, shared: Array) -> Contested:
    """Find the owners of the false positives of the shared regions."""
    # The search works on numbers: a region is a group, an object is its rank in the order in which ties are decided.
    width = regions.labels.shape[1]
    quad = QuadKeys(regions.labels.shape, len(shared))
    group_of = np.full(len(regions.owner), -1, dtype=np.int32)
    group_of[shared] = np.arange(len(shared))
    by_rank = np.lexsort((np.arange(len(objects.size)), -objects.size))
    rank = np.empty_like(by_rank)
    rank[by_rank] = np.arange(len(by_rank))

    wrong, group = _grouped(np.flatnonzero(~regions.hit), regions.labels, group_of)
    y = wrong // width  # np.divmod is about ten times slower
    keys = quad.encode(group, y, wrong - y * width)
    keys.sort()
    site, group = _grouped(outer_sites(regions.classes * regions.hit), regions.labels, group_of)
    order = np.argsort(group, kind="stable")
    site, group = site[order], group[order]
    sites = Sites(group, *np.divmod(site, width), rank[objects.labels.ravel()[site]])
    start, winner = nearest_ranks(keys, sites, quad)
    return Contested(keys, quad, start, shared[quad.group(keys[start])], by_rank[winner])


def _grouped(position: Array, labels: Array, group_of: Array) -> tuple[Array, Array]:
    """The flat positions whose region has a group (>= 0), and their groups."""
    group = group_of[labels.ravel()[position]]
    inside = group >= 0
    return position[inside], group[inside]
