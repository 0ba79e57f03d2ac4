"""Kinds of errors by plain loops, written from the definition of Bernhard et al. (WACV 2024).

Ignored pixels, instances and bounded blame are as docs/object_size.md defines them.
"""

import numpy as np

from tests.oracles.object_size import NEIGHBORS, attribute, components, objects_of, squared_distance


def is_near(pixel, pixels, width):
    """Whether a pixel of the set is within the rounded Euclidean distance."""
    return any(round(squared_distance(pixel, other) ** 0.5) <= width for other in pixels)


def touches(component, pixels):
    return any((y + dy, x + dx) in pixels for y, x in component for dy, dx in NEIGHBORS)


def kinds(prediction, target, class_id, width, ignore_index=255, instances=None):
    """The kind of each false positive and of each false negative of one class: dicts by (y, x)."""
    grid = list(np.ndindex(target.shape))
    valid = {p for p in grid if target[p] != ignore_index}
    positive = {p for p in valid if prediction[p] == class_id}
    truth = {p for p in valid if target[p] == class_id}
    tp, tn = positive & truth, set(grid) - positive - truth
    segments = (components(positive), objects_of(target, class_id, ignore_index, instances))
    result = []
    for errors, parts in zip((positive - truth, truth - positive), segments, strict=True):
        core = {p for p in errors if is_near(p, tp, width) and is_near(p, tn, width)}
        band = {p for p in errors if is_near(p, core, width)}
        boundary = {p for piece in components(band) if touches(piece, tp) and touches(piece, tn) for p in piece}
        kind = {}
        for part in parts:
            is_segment = not set(part) & tp
            for p in set(part) & errors:
                kind[p] = "segment" if is_segment else "boundary" if p in boundary else "extent"
        assert set(kind) == errors
        result.append(kind)
    return result


def error_rows(prediction, target, num_classes, width, ignore_index=255, instances=None):
    """Of every row: (class, kind, size, tp, fp, fn), then the fp and the fn of each kind.

    Of the false positives that one region gives to an object, its boundary errors are charged first, up to its area.
    """
    rows = []
    for class_id in range(num_classes):
        of_fp, of_fn = kinds(prediction, target, class_id, width, ignore_index, instances)
        for row in attribute(prediction, target, class_id, ignore_index, instances):
            counts = {f"{side}_{kind}": 0 for side in ("fp", "fn") for kind in ("boundary", "extent", "segment")}
            if row["kind"] == "object":
                for pixels in row["shares"]:
                    first = sorted(pixels, key=lambda p: of_fp[p] != "boundary")[: row["size"]]
                    for p in first:
                        counts[f"fp_{of_fp[p]}"] += 1
                for p in row["pixels"]:
                    if p in of_fn:
                        counts[f"fn_{of_fn[p]}"] += 1
            else:
                last = sorted(row["pixels"], key=lambda p: of_fp[p] != "boundary")[row.get("charged", 0) :]
                for p in last:
                    counts[f"fp_{of_fp[p]}"] += 1
            fn = row["size"] - row["tp"] if row["kind"] == "object" else 0
            rows.append(
                {"class_id": class_id, "kind": row["kind"], "size_px": row["size"], "tp": row["tp"], "fp": row["fp"]}
                | {"fn": fn, "first": row["pixels"][0], **counts}
            )
    return rows
