"""Drawing objects of the training images, and training crops that are centered on them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segattn.data.errors import DataError
from segattn.data.object_index import ObjectIndex
from segattn.objects.size_bins import COCO_EDGES, ObjectSizes

SIZES = ObjectSizes().names
"""Small, medium and large objects: areas below 32², below 96², and above, in pixels of the label file."""


class ObjectSampler:
    """Draws a class, then a size of that class, then an object of that class and size, each uniformly.

    Classes and sizes without an object are not drawn.

    Args:
        objects: all objects.
        sizes: the sizes to draw from, of :data:`SIZES`.
        classes: the classes to draw from; None for all.

    Raises:
        DataError: if there are no objects to draw.
    """

    def __init__(self, objects: ObjectIndex, *, sizes: Sequence[str], classes: Sequence[int] | None = None) -> None:
        size = np.searchsorted(COCO_EDGES, objects["area"], side="right")
        usable = np.isin(size, [SIZES.index(name) for name in sizes])
        if classes is not None:
            usable &= np.isin(objects["class_id"], classes)
        chosen = np.flatnonzero(usable)
        if not len(chosen):
            rest = (
                "to draw; choose other sizes" if classes is None else "of these classes to paste; choose other classes"
            )
            raise DataError(f"The training images contain no {' or '.join(sizes)} object {rest}.")
        class_id, size = objects["class_id"][chosen], size[chosen]
        order = np.lexsort((size, class_id))
        self._objects = objects[chosen[order]]
        keys = class_id[order].astype(np.intp) * len(SIZES) + size[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        groups = list(zip(starts, [*starts[1:], len(keys)], strict=True))
        of_class = keys[starts] // len(SIZES)
        self._groups = [
            [group for group, own in zip(groups, of_class, strict=True) if own == index]
            for index in np.unique(of_class)
        ]

    def draw(self, generator: np.random.Generator) -> np.void:
        """Draw an object."""
        groups = self._groups[generator.integers(len(self._groups))]
        first, end = groups[generator.integers(len(groups))]
        drawn: np.void = self._objects[int(generator.integers(first, end))]
        return drawn


def check_sizes(name: str, sizes: Sequence[str]) -> None:
    """Validate an option that selects sizes."""
    if not sizes or set(sizes) - set(SIZES):
        raise ValueError(f"{name} must list some of {', '.join(SIZES)}, got {list(sizes)}.")


class Center(NamedTuple):
    """A pixel of a training image."""

    image: int
    position: tuple[int, int]


class ObjectCrops:
    """Decides which crops are centered on an object, and on which.

    Args:
        sampler: draws the objects.
        share: probability that a crop is centered on an object.
    """

    def __init__(self, sampler: ObjectSampler, share: float) -> None:
        self.sampler = sampler
        self.share = share

    def draw(self, seed: tuple[int, ...]) -> Center | None:
        """Return the center of the crop with this seed, or None for an ordinary crop."""
        generator = np.random.default_rng((*seed, 1))  # not the numbers of the augmentation
        if generator.random() >= self.share:
            return None
        drawn = self.sampler.draw(generator)
        return Center(int(drawn["image"]), (int(drawn["row"]), int(drawn["column"])))
