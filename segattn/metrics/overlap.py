"""A prediction laid over the objects of its ground truth: regions, true positives, and who meets whom.

A *region* is an 8-connected component of the pixels of one predicted class. Ignored pixels are removed before
labelling, so what is predicted on them changes nothing.
"""

from dataclasses import dataclass

import numpy as np

from segattn.metrics.counts import check_same_shape
from segattn.metrics.objects import Array, TargetObjects, components, pieces, run_lengths, run_starts, shifted_classes


@dataclass(frozen=True)
class Overlap:
    """What one prediction shares with the n objects of its target; it has m regions.

    Attributes:
        classes: unsigned (height, width): predicted class + 1, or 0 where the ground truth is ignored.
        regions: unsigned (height, width): the region of each pixel, from 1, or 0 where ignored.
        region_class: class + 1 of every region, shape (m + 1,); entry 0 stands for the ignored pixels and is 0.
        region_size: area of every region in pixels, shape (m + 1,).
        region_tp: true positives in every region, shape (m + 1,).
        owner: an object with true positives in the region, shape (m + 1,); 0 if there is none.
        shared: whether the region holds true positives of two or more objects, shape (m + 1,).
        tp: true positives of every object, shape (n + 1,).
        hit: bool (height, width): where the pixel is a true positive.
    """

    classes: Array
    regions: Array
    region_class: Array
    region_size: Array
    region_tp: Array
    owner: Array
    shared: Array
    tp: Array
    hit: Array


def find_overlap(prediction: Array, objects: TargetObjects, num_classes: int) -> Overlap:
    """Lay a prediction over the objects and count what coincides.

    Args:
        prediction: class indices, shape (height, width); any value where the target is ignored.
        objects: the target's objects.
        num_classes: number of classes.

    Raises:
        ValueError: if a pixel that counts holds a class outside 0..num_classes-1, or the shapes differ.
    """
    check_same_shape(tuple(prediction.shape), tuple(objects.labels.shape))
    classes = shifted_classes("prediction", prediction, objects.classes != 0, num_classes)
    regions = components(classes)
    count = int(regions.max(initial=0)) + 1
    overlap = Overlap(
        classes=classes,
        regions=regions,
        region_class=np.zeros(count, dtype=classes.dtype),
        region_size=np.zeros(count, dtype=np.int64),
        region_tp=np.zeros(count, dtype=np.int64),
        owner=np.zeros(count, dtype=objects.labels.dtype),
        shared=np.zeros(count, dtype=bool),
        tp=np.zeros(len(objects.size), dtype=np.int64),
        hit=(classes == objects.classes) & (classes != 0),
    )
    start = run_starts(objects.labels, regions)
    for piece in pieces(len(start)):
        end = int(start[piece.stop]) if piece.stop < len(start) else regions.size
        _count(overlap, objects, start[piece], end)
    return overlap


def _count(overlap: Overlap, objects: TargetObjects, start: Array, end: int) -> None:
    """Add successive runs, of which the last one ends before position ``end``, to the tables."""
    length = run_lengths(start, end)
    region = overlap.regions.ravel()[start]
    overlap.region_class[region] = overlap.classes.ravel()[start]
    np.add.at(overlap.region_size, region, length)

    hit = np.flatnonzero(overlap.hit.ravel()[start])
    region, label, length = region[hit], objects.labels.ravel()[start[hit]], length[hit]
    np.add.at(overlap.region_tp, region, length)
    np.add.at(overlap.tp, label, length)
    earlier = overlap.owner[region]
    overlap.shared[region[(earlier != 0) & (earlier != label)]] = True
    overlap.owner[region] = label  # of several objects in this piece one stays, and differs from the others
    overlap.shared[region[overlap.owner[region] != label]] = True
