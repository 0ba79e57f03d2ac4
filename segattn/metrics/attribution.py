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
    ranges,
    runs,
    shifted_classes,
    sum_by,
)


class Runs(NamedTuple):
    """The runs (:func:`segattn.objects.ground_truth.runs`) of an image on which object and region are constant."""

    start: Array  # flat position of the first pixel
    length: Array
    label: Array  # the object, or 0 where ignored
    region: Array  # the region, or 0 where ignored
    true: Array  # class of the object + 1, or 0 where ignored
    predicted: Array  # class of the region + 1, or 0 where ignored
    hit: Array  # whether the pixels are true positives


@dataclass(frozen=True)
class Regions:
    """The m regions of a prediction, and what they share with the n objects of the ground truth.

    Maps have shape (height, width). Tables have an entry 0 for the ignored pixels.
    """

    classes: Array  # map: predicted class + 1, or 0 where the ground truth is ignored
    labels: Array  # map: the region, from 1, or 0 where ignored
    runs: Runs
    class_id: Array  # of each region
    fp: Array  # false positives in each region
    owner: Array  # an object with true positives in the region, or 0
    shared: Array  # whether several objects have true positives in the region
    tp: Array  # true positives of each object
    merged: Array  # whether each object has true positives in a shared region


class Contested(NamedTuple):
    """The false positives of all shared regions, sorted into pieces with one owner each."""

    keys: Array  # sorted key of each pixel
    quad: QuadKeys  # decodes the keys
    start: Array  # position of the first key of each piece
    region: Array  # of each piece
    owner: Array  # object of each piece

    @property
    def pixels(self) -> Array:
        """Number of pixels of each piece."""
        return np.diff(self.start, append=len(self.keys))


@dataclass(frozen=True)
class Attribution:
    """The rows of one image: the objects, then the free-standing false positives. Arrays have one value per row."""

    class_id: Array
    size: Array  # area of the object, or number of pixels of the false positive
    tp: Array
    fp: Array
    fn: Array
    region: Array  # of a false positive; 0 for objects
    owner: Array  # the object that was charged its own area and left this row as excess, else 0
    objects: TargetObjects
    regions: Regions
    contested: Contested | None


def attribute(prediction: Array, objects: TargetObjects, num_classes: int) -> Attribution:
    """Attribute every pixel of one image.

    Args:
        prediction: class indices, shape (height, width). Values at ignored pixels have no effect.
        objects: objects of the ground truth.
        num_classes: number of classes.

    Raises:
        ValueError: if the shapes differ, or a pixel that is not ignored has a class outside 0..num_classes-1.

    Examples:
        >>> import numpy as np
        >>> from segattn.metrics.functional import attribute, target_objects
        >>> prediction = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> rows = attribute(prediction, target_objects(target, 2), 2)
        >>> rows.class_id, rows.tp, rows.fp, rows.fn
        (array([0, 1]), array([3, 3]), array([0, 1]), array([1, 0]))
    """
    regions = find_regions(prediction, objects, num_classes)
    # 1. False positives of regions with true positives: each pair of a region and an object, and its pixels.
    region, owner, pixels, contested = _assign(regions, objects)
    # 2. Bounded blame: charge the object up to its own area, and keep the pairs that exceed it.
    area = objects.size[owner]
    charged = sum_by(owner, np.minimum(pixels, area), len(objects.size))
    excess = pixels > area
    region, owner, pixels, area = region[excess], owner[excess], pixels[excess], area[excess]
    # 3. Regions without true positives are free-standing.
    free = np.flatnonzero((regions.owner == 0) & (regions.fp > 0))
    free_fp, tp, size = regions.fp[free], regions.tp[1:], objects.size[1:]
    # 4. Rows: the objects, the free-standing regions, then the excess of each pair.
    none, no_owner, no_region = np.zeros(len(free) + len(region), np.int64), np.zeros_like(free), np.zeros_like(tp)
    rows = {
        "class_id": (objects.class_id[1:], regions.class_id[free], regions.class_id[region]),
        "size": (size, free_fp, pixels),
        "tp": (tp, none),
        "fp": (charged[1:], free_fp, pixels - area),
        "fn": (size - tp, none),
        "region": (no_region, free, region),
        "owner": (no_region, no_owner, owner),
    }
    columns = {name: np.concatenate(parts) for name, parts in rows.items()}
    return Attribution(**columns, objects=objects, regions=regions, contested=contested)


def size_counts(rows: Attribution, edges: Array, num_classes: int) -> npt.NDArray[np.int64]:
    """Sum the rows of one image by class and size.

    Args:
        rows: attribution of the image, from :func:`attribute`.
        edges: ascending areas in pixels; bin i holds edges[i - 1] <= size < edges[i].
        num_classes: number of classes.

    Returns:
        Counts [classes, len(edges) + 1, 4]: true positives, false positives, false negatives, ground-truth objects.

    Examples:
        >>> import numpy as np
        >>> from segattn.metrics.functional import attribute, size_counts, target_objects
        >>> prediction = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> rows = attribute(prediction, target_objects(target, 2), 2)
        >>> size_counts(rows, np.array([4]), 2)[1]  # of class 1: below 4 pixels, and from 4 pixels
        array([[3, 1, 0, 1],
               [0, 0, 0, 0]])
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
    # Count run by run. Components meet only where the class changes, and class maps are smaller than maps of numbers.
    start, length = runs(objects.labels if objects.is_instance.any() else objects.classes, classes)
    label, region, true, predicted = (
        values.ravel()[start] for values in (objects.labels, labels, objects.classes, classes)
    )
    found = Runs(start, length, label, region, true, predicted, hit=(true == predicted) & (true > 0))
    count = int(labels.max(initial=0)) + 1
    class_id = np.full(count, -1, dtype=np.int64)
    class_id[region] = predicted.astype(np.int64) - 1
    fp = sum_by(region[~found.hit], length[~found.hit], count)
    fp[0] = 0  # ignored pixels
    region, label, length = region[found.hit], label[found.hit], length[found.hit]
    # Of several objects in a region the last assignment wins, and the others differ from it.
    owner = np.zeros(count, dtype=np.int64)
    owner[region] = label
    shared = np.zeros(count, dtype=bool)
    shared[region[owner[region] != label]] = True
    tp = sum_by(label, length, len(objects.size))
    merged = np.zeros(len(objects.size), dtype=bool)
    merged[label[shared[region]]] = True
    return Regions(classes, labels, found, class_id, fp, owner, shared, tp, merged)


def _assign(regions: Regions, objects: TargetObjects) -> tuple[Array, Array, Array, Contested | None]:
    """Give every false positive of a region with true positives to an object.

    Returns region, object and number of pixels of each pair, then the pixels of shared regions.
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
    found = regions.runs
    # 1. The search works on numbers: a region is a group, an object is its rank in the order in which ties are decided.
    group_of = np.full(len(regions.owner), -1, dtype=np.int32)
    group_of[shared] = np.arange(len(shared))
    by_rank = np.lexsort((np.arange(len(objects.size)), -objects.size))
    rank = np.empty_like(by_rank)
    rank[by_rank] = np.arange(len(by_rank))
    # 2. The queries are the false positives of all shared regions.
    shape = objects.labels.shape
    quad = QuadKeys(shape, len(shared))
    run_group = group_of[found.region]
    wrong = (run_group >= 0) & ~found.hit
    y, x = np.divmod(ranges(found.start[wrong], found.length[wrong]), shape[1])
    keys = quad.encode(y, x) | np.repeat(quad.first(run_group[wrong]), found.length[wrong])
    keys.sort()
    # 3. The sites are the true positives at the rim of their object, sorted by group.
    held = np.where((run_group >= 0) & found.hit, found.true, 0)
    site = outer_sites(np.repeat(held, found.length).reshape(shape))
    group = run_group[np.searchsorted(found.start, site, side="right") - 1]
    order = np.argsort(group, kind="stable")
    site, group = site[order], group[order]
    y, x = np.divmod(site, shape[1])
    start, winner = nearest_ranks(keys, Sites(group, y, x, rank[objects.labels.ravel()[site]]), quad)
    return Contested(keys, quad, start, shared[quad.group(keys[start])], by_rank[winner])
