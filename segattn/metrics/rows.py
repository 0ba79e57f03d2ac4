"""The object record of one image: one row per object and per free-standing false positive."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Integer
from torch import Tensor

from segattn.metrics.attribution import Contested, LeftOver, charge, share_false_positives
from segattn.metrics.object_shapes import boxes, confusions, shapes, touches_ignored
from segattn.metrics.overlap import Overlap, find_overlap
from segattn.objects.target_objects import Array, TargetObjects, target_objects


def object_rows(  # noqa: PLR0917 - the published signature
    prediction: Integer[Tensor, "..."] | Array,
    target: Integer[Tensor, "..."] | Array,
    num_classes: int,
    ignore_index: int = 255,
    instances: Integer[Tensor, "..."] | Array | None = None,
    *,
    image: str = "",
    class_names: Sequence[str] | None = None,
    objects: TargetObjects | None = None,
) -> dict[str, Array]:
    """All rows of one image with every column of the object record.

    Objects come first, in row-major order of their first pixels, then the free-standing false positives.

    Args:
        prediction: class indices, shape (height, width); any value where the target is ignored.
        target: class indices or ``ignore_index``, the same shape.
        num_classes: number of classes.
        ignore_index: target value of the pixels that do not count.
        instances: instance ids of the same shape, where the data set has them.
        image: name of the image.
        class_names: names by index; the indices themselves if None.
        objects: the target's objects, where the data loader has found them. They replace the work on ``target`` and
            ``instances``.

    Returns:
        Columns with one value per row, named, ordered and explained as in :data:`segattn.objects.record_files.COLUMNS`.

    Raises:
        ValueError: if shapes differ, a pixel that counts holds a class out of range, or the names do not fit.
    """
    names = [str(c) for c in range(num_classes)] if class_names is None else list(class_names)
    if len(names) != num_classes:
        raise ValueError(f"class_names needs one name for each of {num_classes} classes, got {len(names)}.")
    if objects is None:
        owners = None if instances is None else _as_array(instances)
        objects = target_objects(_as_array(target), num_classes, ignore_index=ignore_index, instances=owners)
    overlap = find_overlap(_as_array(prediction), objects, num_classes)
    shares = share_false_positives(overlap, objects)
    fp, over = charge(shares, objects)
    parts = (_object_columns(overlap, objects, fp), _false_columns(overlap, objects, over, shares.contested))
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    class_id, (height, width) = rows.pop("class_id"), objects.labels.shape
    return {
        "image": np.full(len(class_id), image, dtype=object),
        "height": np.full(len(class_id), height),
        "width": np.full(len(class_id), width),
        "class_id": class_id,
        "class_name": np.array(names, dtype=object)[class_id],
        **rows,
    }


def _as_array(labels: Any) -> Array:
    return labels.cpu().numpy() if isinstance(labels, Tensor) else labels


def _object_columns(overlap: Overlap, objects: TargetObjects, fp: Array) -> dict[str, Array]:
    merged = np.zeros(len(objects.size), dtype=bool)
    merged[objects.labels[overlap.hit & overlap.shared[overlap.regions]]] = True
    size, tp = objects.size[1:], overlap.tp[1:]
    return {
        "class_id": objects.class_id[1:],
        "kind": np.full(len(size), "object", dtype=object),
        **_measured(objects.labels, objects, size=size, tp=tp, fp=fp[1:], fn=size - tp),
        "merged": merged[1:],
        **confusions(objects.labels, objects.class_id[1:], overlap.classes),
    }


def _false_columns(
    overlap: Overlap, objects: TargetObjects, over: LeftOver, contested: Contested | None
) -> dict[str, Array]:
    free = np.concatenate(list(overlap.free_regions()))
    class_id = overlap.class_ids(np.append(free, over.region))
    labels = _false_labels(overlap, free, over, contested)
    zero = np.zeros_like(class_id)
    size, fp = (np.append(overlap.region_fp[free], values) for values in (over.size, over.fp))
    return {
        "class_id": class_id,
        "kind": np.full(len(zero), "false_positive", dtype=object),
        **_measured(labels, objects, size=size, tp=zero, fp=fp, fn=zero),
        "merged": zero.astype(bool),
        **confusions(labels, class_id, objects.classes),
    }


def _measured(
    labels: Array, objects: TargetObjects, *, size: Array, tp: Array, fp: Array, fn: Array
) -> dict[str, Array]:
    box = boxes(labels, len(size))
    height, width = labels.shape
    touches_border = (box["y0"] == 0) | (box["x0"] == 0) | (box["y1"] == height) | (box["x1"] == width)
    return {
        "size_px": size,
        **box,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "recall": tp / size,
        "iou": tp / (size + fp),
        **shapes(labels, size),
        "touches_border": touches_border,
        "touches_ignore": touches_ignored(labels, len(size), objects.classes == 0),
    }


def _false_labels(overlap: Overlap, free: Array, over: LeftOver, contested: Contested | None) -> Array:
    """Number the pixels of the free-standing false positives by row, from 1; 0 elsewhere."""
    row_of = np.zeros(len(overlap.owner), dtype=np.uint32)
    row_of[free] = np.arange(1, len(free) + 1)
    over_row = np.arange(len(free) + 1, len(free) + len(over.region) + 1, dtype=np.uint32)
    shared = overlap.shared[over.region]
    row_of[over.region[~shared]] = over_row[~shared]
    labels = np.where(overlap.hit, 0, row_of[overlap.regions])
    if contested is not None and shared.any():
        row_of_pair = dict(zip(zip(over.region, over.label, strict=True), over_row, strict=True))
        pairs = zip(contested.region, contested.label, strict=True)
        piece_row = np.array([row_of_pair.get(pair, 0) for pair in pairs], dtype=np.uint32)
        y, x = contested.quad.decode(contested.keys)
        labels[y, x] = np.repeat(piece_row, contested.pixels)
    return labels
