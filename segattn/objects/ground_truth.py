"""The objects of a ground truth, which IoU per object size is split by. No torch.

An *object* is an 8-connected component of the pixels of one class, without ignored pixels. If instance ids are given,
all pixels of one class with the same id > 0 are one object. Its *size* is its area in pixels at annotation resolution.
Finding objects needs no prediction, so the data loader can do it.
"""

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TargetObjects:
    """The n objects of one image, numbered from 1 by their first pixels in row-major order.

    Attributes:
        classes: unsigned (height, width): class + 1, or 0 where the ground truth is ignored.
        labels: unsigned (height, width): the object at each pixel, or 0 where ignored.
        class_id: class of each object, shape (n + 1,). Entry 0 is for the ignored pixels and is -1.
        size: area of each object in pixels, shape (n + 1,).
        is_instance: whether the object is an annotated instance rather than a component, shape (n + 1,).

    Examples:
        >>> import numpy as np
        >>> from segattn.objects import target_objects
        >>> objects = target_objects(np.array([[0, 0, 1, 1], [1, 0, 1, 255]]), num_classes=2)
        >>> objects.labels
        array([[1, 1, 2, 2],
               [3, 1, 2, 0]], dtype=uint16)
    """

    classes: Array
    labels: Array
    class_id: Array
    size: Array
    is_instance: Array


def target_objects(
    target: Array, num_classes: int, *, ignore_index: int = 255, instances: Array | None = None
) -> TargetObjects:
    """Find the objects of one ground truth.

    Args:
        target: class indices or ``ignore_index``, shape (height, width).
        num_classes: number of classes.
        ignore_index: value of ignored pixels.
        instances: instance ids, same shape. Pixels without an id > 0 form components.

    Raises:
        ValueError: if the shapes differ, ``target`` is not a map of integers, or a pixel that is not ignored has a
            class outside 0..num_classes-1.

    Examples:
        >>> import numpy as np
        >>> from segattn.objects import target_objects
        >>> objects = target_objects(np.array([[0, 0, 1, 1], [0, 0, 1, 255]]), num_classes=2)
        >>> objects.class_id, objects.size
        (array([-1,  0,  1]), array([1, 4, 3]))
    """
    classes = shifted_classes("target", target, target != ignore_index, num_classes)
    if instances is None:
        labels = components(classes)
    else:
        if instances.shape != target.shape:
            raise ValueError(
                f"Instances and target must have the same shape, got {instances.shape} and {target.shape}."
            )
        labels = _instance_labels(classes, instances)
    count = int(labels.max(initial=0)) + 1
    start, length = runs(classes if instances is None else labels)  # components meet only where the class changes
    label = labels.ravel()[start]
    class_id = np.full(count, -1, dtype=np.int64)
    class_id[label] = classes.ravel()[start].astype(np.int64) - 1
    is_instance = np.zeros(count, dtype=bool)
    if instances is not None:
        is_instance[label] = (instances.ravel()[start] > 0) & (label > 0)
    return TargetObjects(classes, labels, class_id, sum_by(label, length, count), is_instance)


def shifted_classes(name: str, labels: Array, valid: Array, num_classes: int) -> Array:
    """Class + 1 where ``valid``, 0 elsewhere: the labelling library treats 0 as background. Validates the map."""
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "biu":
        raise ValueError(
            f"The {name} must be a non-empty integer map (height, width), got {labels.dtype} {labels.shape}."
        )
    unsigned = labels.view(labels.dtype.str.replace("i", "u"))  # negative values become large
    narrow = np.uint8 if num_classes <= np.iinfo(np.uint8).max else np.uint16
    fits = unsigned.max(initial=0) <= np.iinfo(narrow).max
    small: Array = labels.astype(narrow) if fits else unsigned  # int64 masks would need eight times the memory traffic
    wrong = small >= num_classes
    wrong &= valid
    if wrong.any():
        check_class_range(name, int(labels[wrong].min()), int(labels[wrong].max()), num_classes)
    shifted: Array = small.astype(narrow, copy=False)
    shifted += 1
    shifted *= valid
    return shifted


def components(classes: Array) -> Array:
    """8-connected components of equal values > 0, numbered from 1 by their first pixels in row-major order."""
    labels: Array = cc3d.connected_components(np.ascontiguousarray(classes), connectivity=8)
    return labels


def _instance_labels(classes: Array, instances: Array) -> Array:
    """Number the objects where instance ids are known. Pixels without an id form components."""
    has_id = (classes > 0) & (instances > 0)
    unnamed = components(classes * ~has_id)
    start, length = runs(classes, instances, unnamed)
    # One integer per run identifies its object: the component, or, above all components, the pair (class, id).
    pairs = classes.ravel()[start].astype(np.int64) * (int(instances.max(initial=0)) + 1)
    pairs += instances.ravel()[start].astype(np.int64) + int(unnamed.max(initial=0))
    values = np.where(has_id.ravel()[start], pairs, unnamed.ravel()[start])
    # Renumber the objects by their first pixels; value 0 (ignored) stays 0.
    found, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    order = order[found[order] > 0]
    number = np.zeros(len(found), dtype=np.uint32)
    number[order] = np.arange(1, len(order) + 1)
    return np.repeat(number[inverse], length).reshape(classes.shape)


def runs(*maps: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Flat start positions and lengths of runs: the longest pieces of rows on which every map is constant.

    Real label maps have about twenty pixels per run, so counting runs is much faster than counting pixels.
    """
    changes = np.ones(maps[0].shape, dtype=bool)
    inner = changes[:, 1:]
    np.not_equal(maps[0][:, 1:], maps[0][:, :-1], out=inner)
    for other in maps[1:]:
        inner |= other[:, 1:] != other[:, :-1]
    start = np.flatnonzero(changes)
    length = np.empty_like(start)
    np.subtract(start[1:], start[:-1], out=length[:-1])  # np.diff(append=...) would copy the starts
    length[-1:] = changes.size - start[-1:]
    return start, length


def ranges(start: Array, count: Array) -> npt.NDArray[np.intp]:
    """Concatenate the ranges ``start, start + 1, ..., start + count - 1``."""
    offsets = np.cumsum(count) - count
    return np.repeat(start - offsets, count) + np.arange(int(count.sum()))


def sum_by(index: Array, values: Array, count: int) -> npt.NDArray[np.int64]:
    """Sum integers by index, exactly."""
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, index, values.astype(np.int64, copy=False))
    return sums


def check_same_shape(prediction: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Validate that prediction and target have the same shape."""
    if prediction != target:
        raise ValueError(f"Prediction and target must have the same shape, got {prediction} and {target}.")


def check_class_range(name: str, low: int, high: int, num_classes: int) -> None:
    """Validate that the lowest and highest label of a map are classes."""
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise ValueError(f"The {name} holds class {wrong} on a valid pixel; allowed are 0 to {num_classes - 1}.")
