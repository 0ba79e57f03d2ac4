"""A prediction laid over the objects of its ground truth: regions, true positives, and who meets whom.

A *region* is an 8-connected component of the pixels of one predicted class. Ignored pixels are removed before
labelling, so what is predicted on them changes nothing.
"""

from dataclasses import dataclass

import numpy as np

from segattn.metrics.counts import check_same_shape
from segattn.metrics.objects import Array, TargetObjects, components, runs, shifted_classes, sum_by


@dataclass(frozen=True)
class Overlap:
    """What one prediction shares with the n objects of its target; it has m regions.

    Attributes:
        classes: unsigned (height, width): predicted class + 1, or 0 where the ground truth is ignored.
        regions: unsigned (height, width): the region of each pixel, from 1, or 0 where ignored.
        region_class: class of every region, shape (m + 1,); entry 0 stands for the ignored pixels and is -1.
        region_size: area of every region in pixels, shape (m + 1,).
        region_tp: true positives in every region, shape (m + 1,).
        owner: an object with true positives in the region, shape (m + 1,); 0 if there is none.
        shared: whether the region holds true positives of two or more objects, shape (m + 1,).
        tp: true positives of every object, shape (n + 1,).
        run_start: flat position of every maximal piece of a row that has one object and one region.
        run_length: its number of pixels.
        run_region: its region.
        run_hit: whether its pixels are true positives.
    """

    classes: Array
    regions: Array
    region_class: Array
    region_size: Array
    region_tp: Array
    owner: Array
    shared: Array
    tp: Array
    run_start: Array
    run_length: Array
    run_region: Array
    run_hit: Array


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
    start, length = runs(objects.labels, regions)
    region, run_class = regions.ravel()[start], classes.ravel()[start]
    count = int(region.max(initial=0)) + 1
    region_class = np.zeros(count, dtype=classes.dtype)
    region_class[region] = run_class
    run_hit = (run_class == objects.classes.ravel()[start]) & (run_class != 0)
    hit = np.flatnonzero(run_hit)
    hit_label, hit_region, hit_length = objects.labels.ravel()[start[hit]], region[hit], length[hit]
    owner = np.zeros(count, dtype=hit_label.dtype)
    owner[hit_region] = hit_label
    shared = np.zeros(count, dtype=bool)
    shared[hit_region[owner[hit_region] != hit_label]] = True
    return Overlap(
        classes=classes,
        regions=regions,
        region_class=region_class.astype(np.int64) - 1,
        region_size=sum_by(region, length, count),
        region_tp=sum_by(hit_region, hit_length, count),
        owner=owner,
        shared=shared,
        tp=sum_by(hit_label, hit_length, len(objects.size)),
        run_start=start,
        run_length=length,
        run_region=region,
        run_hit=run_hit,
    )
