"""The objects of a ground truth: what IoU per object size is split by.

An *object* is an 8-connected component of the pixels of one class whose ground truth is not ignored or, where instance
ids are given, all pixels of one class that share an id > 0. Its *size* is its area in pixels at annotation resolution.
This half of the work needs no prediction, so it can be done where the data is loaded. No torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PIECE = 1 << 16


@dataclass(frozen=True)
class TargetObjects:
    """The objects of one image, numbered 1..n by their first pixels in row-major order.

    Attributes:
        classes: unsigned (height, width): class + 1, or 0 where the ground truth is ignored.
        labels: unsigned (height, width): the object that each pixel lies on, or 0 where ignored.
        class_id: class of every object, shape (n + 1,); entry 0 stands for the ignored pixels and is -1.
        size: area of every object in pixels, shape (n + 1,).
        named: whether the object is an annotated instance rather than a component, shape (n + 1,).
    """

    classes: Array
    labels: Array
    class_id: Array
    size: Array
    named: Array


def target_objects(
    target: Array, num_classes: int, *, ignore_index: int = 255, instances: Array | None = None
) -> TargetObjects:
    """Find the objects of one ground truth.

    Args:
        target: class indices or ``ignore_index``, shape (height, width).
        num_classes: number of classes.
        ignore_index: value of the pixels that do not count.
        instances: instance ids of the same shape; pixels of a class without an id > 0 form components.

    Raises:
        ValueError: if a pixel that counts holds a class outside 0..num_classes-1, the shapes differ, or it is no map.
    """
    classes = shifted_classes("target", target, target != ignore_index, num_classes)
    if instances is None:
        labels = components(classes)
    else:
        if instances.shape != target.shape:
            raise ValueError(f"Instances and target must have one shape, got {instances.shape} and {target.shape}.")
        labels = _instance_labels(classes, instances)
    count = int(labels.max(initial=0)) + 1
    class_id = np.full(count, -1, dtype=np.int64)
    size = np.zeros(count, dtype=np.int64)
    named = np.zeros(count, dtype=bool)
    for rows in pieces(*labels.shape):
        start, length = runs(labels[rows])
        label = labels[rows].ravel()[start]
        class_id[label] = classes[rows].ravel()[start].astype(np.int64) - 1
        np.add.at(size, label, length)
        if instances is not None:
            named[label] = (instances[rows].ravel()[start] > 0) & (label > 0)
    return TargetObjects(classes, labels, class_id, size, named)


def shifted_classes(name: str, labels: Array, valid: Array, num_classes: int) -> Array:
    """Class + 1 where the pixel counts and 0 elsewhere, because the component library takes 0 for background."""
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "biu":
        raise ValueError(
            f"The {name} must be a map (height, width) of integers with a pixel, got {labels.dtype} {labels.shape}."
        )
    unsigned = labels.view(labels.dtype.str.replace("i", "u"))  # what is below 0 becomes too large
    narrow = np.uint8 if num_classes <= np.iinfo(np.uint8).max else np.uint16
    fits = unsigned.max(initial=0) <= np.iinfo(narrow).max
    small: Array = labels.astype(narrow) if fits else unsigned  # an eighth of the memory to go through
    wrong = small >= num_classes
    wrong &= valid
    if wrong.any():
        check_class_range(name, int(labels[wrong].min()), int(labels[wrong].max()), num_classes)
    shifted: Array = small.astype(narrow, copy=False)
    shifted += 1
    shifted *= valid
    return shifted


def components(classes: Array) -> Array:
    """8-connected components of equal values > 0, numbered from 1 in row-major order of their first pixels."""
    labels: Array = cc3d.connected_components(np.ascontiguousarray(classes), connectivity=8)
    return labels


def _instance_labels(classes: Array, instances: Array) -> Array:
    """Number the objects where instance ids are known; pixels without one form components."""
    named = (classes > 0) & (instances > 0)
    unnamed = components(classes * ~named)
    start, length = runs(classes, instances, unnamed)
    names = classes.ravel()[start].astype(np.int64) * (int(instances.max(initial=0)) + 1)
    names += instances.ravel()[start] + int(unnamed.max(initial=0))
    values = np.where(named.ravel()[start], names, unnamed.ravel()[start])
    found, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    order = order[found[order] > 0]
    number = np.zeros(len(found), dtype=np.uint32)
    number[order] = np.arange(1, len(order) + 1)
    return np.repeat(number[inverse], length).reshape(classes.shape)


def runs(*maps: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Flat starting positions and lengths of runs: maximal pieces of rows on which every map is constant.

    Real label maps have some twenty pixels to a run, and all that is counted here is counted run by run.
    """
    changes = np.ones(maps[0].shape, dtype=bool)
    inner = changes[:, 1:]
    np.not_equal(maps[0][:, 1:], maps[0][:, :-1], out=inner)
    for further in maps[1:]:
        inner |= further[:, 1:] != further[:, :-1]
    start = np.flatnonzero(changes)
    length = np.empty_like(start)
    np.subtract(start[1:], start[:-1], out=length[:-1])  # np.diff would copy the starts to append the end
    length[-1:] = changes.size - start[-1:]
    return start, length


def pieces(count: int, pixels: int = 1) -> Iterator[slice]:
    """Slices of some 65,000 pixels each: what is done piece by piece needs little memory and stays in the cache.

    Args:
        count: number of things to slice, such as the rows of a map.
        pixels: number of pixels of every thing.
    """
    step = max(1, PIECE // max(1, pixels))
    return (slice(first, first + step) for first in range(0, count, step))


def sum_by(index: Array, values: Array, count: int) -> npt.NDArray[np.int64]:
    """Sum integers by index."""
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, index, values.astype(np.int64, copy=False))
    return sums


def check_same_shape(prediction: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Refuse maps that do not lie on each other."""
    if prediction != target:
        raise ValueError(f"Prediction and target must have one shape, got {prediction} and {target}.")


def check_class_range(name: str, low: int, high: int, num_classes: int) -> None:
    """Refuse labels that no class has; they would be counted as another pair of classes or not at all."""
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise ValueError(f"The {name} holds class {wrong} on a valid pixel; allowed are 0 to {num_classes - 1}.")
