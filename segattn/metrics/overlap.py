"""A prediction laid over the objects of its ground truth: regions, true positives, and who meets whom.

A *region* is an 8-connected component of the pixels of one predicted class. Ignored pixels are removed before
labelling, so what is predicted on them changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segattn.objects.target_objects import (
    Array,
    TargetObjects,
    check_same_shape,
    components,
    pieces,
    runs,
    shifted_classes,
)


@dataclass(frozen=True)
class Overlap:
    """What one prediction shares with the n objects of its target; it has m regions.

    Attributes:
        classes: unsigned (height, width): predicted class + 1, or 0 where the ground truth is ignored.
        regions: unsigned (height, width): the region of each pixel, from 1, or 0 where ignored.
        region_class: class + 1 of every region, shape (m + 1,); entry 0 stands for the ignored pixels and is 0.
        region_fp: false positives in every region, shape (m + 1,); all of its pixels if it has no true positive.
        owner: an object with true positives in the region, shape (m + 1,); 0 if there is none.
        shared: whether the region holds true positives of two or more objects, shape (m + 1,).
        tp: true positives of every object, shape (n + 1,).
        hit: bool (height, width): where the pixel is a true positive.
    """

    classes: Array
    regions: Array
    region_class: Array
    region_fp: Array
    owner: Array
    shared: Array
    tp: Array
    hit: Array

    def free_regions(self) -> Iterator[npt.NDArray[np.intp]]:
        """The regions without a true positive, ascending, some at a time: noise has a million."""
        for piece in pieces(len(self.owner)):
            yield np.flatnonzero((self.owner[piece] == 0) & (self.region_fp[piece] > 0)) + piece.start

    def class_ids(self, regions: Array) -> npt.NDArray[np.int64]:
        """Classes of some regions."""
        return self.region_class[regions].astype(np.int64) - 1


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
        region_fp=np.zeros(count, dtype=np.int32 if regions.size <= np.iinfo(np.int32).max else np.int64),
        owner=np.zeros(count, dtype=objects.labels.dtype),
        shared=np.zeros(count, dtype=bool),
        tp=np.zeros(len(objects.size), dtype=np.int64),
        hit=(classes == objects.classes) & (classes != 0),
    )
    for rows in pieces(*regions.shape):
        _count(overlap, objects, rows)
    overlap.region_fp[0] = 0  # of ignored pixels
    return overlap


def _count(overlap: Overlap, objects: TargetObjects, rows: slice) -> None:
    """Add some rows of the maps to the tables."""
    labels, regions = objects.labels[rows], overlap.regions[rows]
    start, length = runs(labels, regions)
    region = regions.ravel()[start].astype(np.intp)
    overlap.region_class[region] = overlap.classes[rows].ravel()[start]
    is_hit = overlap.hit[rows].ravel()[start]
    hit, wrong = np.flatnonzero(is_hit), np.flatnonzero(~is_hit)
    np.add.at(overlap.region_fp, region[wrong], length[wrong].astype(overlap.region_fp.dtype))

    region, label = region[hit], labels.ravel()[start[hit]]
    np.add.at(overlap.tp, label, length[hit])
    earlier = overlap.owner[region]
    overlap.shared[region[(earlier != 0) & (earlier != label)]] = True
    overlap.owner[region] = label  # of several objects in these rows one stays, and differs from the others
    overlap.shared[region[overlap.owner[region] != label]] = True
