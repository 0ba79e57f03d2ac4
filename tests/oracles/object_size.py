"""IoU per object size by plain loops over pixels, written from the definition only; minutes for a real image.

Where the definition leaves a choice, this follows the documented choice of the project: of two tied objects of equal
area, the one whose first pixel comes first in row-major order owns the pixel; boxes are half open; everything outside
the image counts as outside of each object.
"""

import math
from collections import Counter
from itertools import product

import numpy as np

NEIGHBORS = [(dy, dx) for dy, dx in product((-1, 0, 1), repeat=2) if (dy, dx) != (0, 0)]


def components(pixels):
    """8-connected components of a set of (y, x), in row-major order of their first pixels."""
    left, found = set(pixels), []
    for start in sorted(pixels):
        if start not in left:
            continue
        left.remove(start)
        component, queue = [start], [start]
        while queue:
            y, x = queue.pop()
            for neighbor in ((y + dy, x + dx) for dy, dx in NEIGHBORS):
                if neighbor in left:
                    left.remove(neighbor)
                    component.append(neighbor)
                    queue.append(neighbor)
        found.append(sorted(component))
    return found


def objects_of(target, class_id, ignore_index, instances):
    pixels = [p for p in np.ndindex(target.shape) if target[p] == class_id and target[p] != ignore_index]
    if instances is None:
        return components(pixels)
    ids = sorted({int(instances[p]) for p in pixels if instances[p] > 0})
    named = [sorted(p for p in pixels if instances[p] == i) for i in ids]
    return sorted(named + components([p for p in pixels if instances[p] <= 0]), key=lambda pixels: pixels[0])


def squared_distance(a, b):
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2


def owner_of(pixel, held):
    """The object that a false positive goes to: nearest true positive, then larger area, then first pixel."""
    return min(
        held, key=lambda o: (min(squared_distance(pixel, q) for q in held[o][1]), -len(held[o][0]), held[o][0][0])
    )


def attribute(prediction, target, class_id, ignore_index, instances):
    """Objects and free-standing false positives of one class: dicts with their pixels and counts."""
    objects = [
        {"kind": "object", "pixels": pixels, "size": len(pixels), "fp": 0, "merged": False, "shares": []}
        for pixels in objects_of(target, class_id, ignore_index, instances)
    ]
    for row in objects:
        row["tp"] = sum(int(prediction[p] == class_id) for p in row["pixels"])
    free = []
    predicted = [p for p in np.ndindex(target.shape) if prediction[p] == class_id and target[p] != ignore_index]
    for region in components(predicted):
        held = {}
        for o, row in enumerate(objects):
            hits = [p for p in row["pixels"] if p in set(region)]
            if hits:
                held[o] = (row["pixels"], hits)
        if len(held) > 1:
            for o in held:
                objects[o]["merged"] = True
        wrong = [p for p in region if target[p] != class_id]
        if not held:
            free.append({"pixels": region, "size": len(region), "fp": len(region)})
            continue
        shares = {o: [] for o in held}
        for p in wrong:
            shares[owner_of(p, held)].append(p)
        for o, pixels in shares.items():
            area = objects[o]["size"]
            objects[o]["fp"] += min(len(pixels), area)
            objects[o]["shares"].append(pixels)
            if len(pixels) > area:
                free.append({"pixels": pixels, "size": len(pixels), "fp": len(pixels) - area, "charged": area})
    return objects + [{"kind": "false_positive", "tp": 0, "merged": False, **row} for row in free]


def shape_columns(row, target, ignore_index):
    pixels, inside = row["pixels"], set(row["pixels"])
    height, width = target.shape
    grid = [(y, x) for y in range(-1, height + 1) for x in range(-1, width + 1)]
    outside = [p for p in grid if p not in inside]
    around = [[(y + dy, x + dx) for dy, dx in NEIGHBORS] for y, x in pixels]
    ys, xs = [y for y, _ in pixels], [x for _, x in pixels]
    widest = 2 * math.sqrt(max(min(squared_distance(p, q) for q in outside) for p in pixels)) - 1
    valid = [p for near in around for p in near if 0 <= p[0] < height and 0 <= p[1] < width]
    return {
        "size_px": row["size"],
        "y0": min(ys),
        "x0": min(xs),
        "y1": max(ys) + 1,
        "x1": max(xs) + 1,
        "boundary_px": sum(any(p not in inside for p in near) for near in around),
        "max_width_px": widest,
        "elongation": row["size"] / widest**2,
        "touches_border": min(ys) == 0 or min(xs) == 0 or max(ys) == height - 1 or max(xs) == width - 1,
        "touches_ignore": any(target[p] == ignore_index for p in valid),
    }


def confusion_columns(row, class_id, prediction, target):
    other = prediction if row["kind"] == "object" else target
    counts = Counter(int(other[p]) for p in row["pixels"] if other[p] != class_id)
    return {
        "top_confusion": min(counts, key=lambda c: (-counts[c], c)) if counts else -1,
        "confused_class": sorted(counts),
        "confused_px": [counts[c] for c in sorted(counts)],
    }


def object_rows(prediction, target, num_classes, ignore_index=255, instances=None):
    """A list of dicts, one per row of the object record, without the names of image and class."""
    rows = []
    for class_id in range(num_classes):
        for row in attribute(prediction, target, class_id, ignore_index, instances):
            fn = row["size"] - row["tp"] if row["kind"] == "object" else 0
            rows.append(
                {
                    "height": target.shape[0],
                    "width": target.shape[1],
                    "class_id": class_id,
                    "kind": row["kind"],
                    "tp": row["tp"],
                    "fp": row["fp"],
                    "fn": fn,
                    "recall": row["tp"] / row["size"],
                    "iou": row["tp"] / (row["size"] + row["fp"]),
                    "merged": row["merged"],
                    **confusion_columns(row, class_id, prediction, target),
                    **shape_columns(row, target, ignore_index),
                }
            )
    return rows


def size_counts(prediction, target, num_classes, edges, ignore_index=255, instances=None):
    """Counts [classes, len(edges) + 1, 4] of (tp, fp, fn, objects); a row of size s lies in bucket #{edges <= s}."""
    counts = np.zeros((num_classes, len(edges) + 1, 4), dtype=np.int64)
    for class_id in range(num_classes):
        for row in attribute(prediction, target, class_id, ignore_index, instances):
            bucket = sum(edge <= row["size"] for edge in edges)
            is_object = row["kind"] == "object"
            fn = row["size"] - row["tp"] if is_object else 0
            counts[class_id, bucket] += (row["tp"], row["fp"], fn, int(is_object))
    return counts


def found_counts(prediction, target, num_classes, edges, ignore_index=255, instances=None, recall=(1, 2)):
    """Counts [classes, len(edges) + 1, 2] of objects with more than this recall (a fraction), and of false alarms."""
    counts = np.zeros((num_classes, len(edges) + 1, 2), dtype=np.int64)

    def bucket(size):
        return sum(edge <= size for edge in edges)

    for class_id in range(num_classes):
        for pixels in objects_of(target, class_id, ignore_index, instances):
            hits = sum(int(prediction[p] == class_id) for p in pixels)
            counts[class_id, bucket(len(pixels)), 0] += hits * recall[1] > recall[0] * len(pixels)
        predicted = [p for p in np.ndindex(target.shape) if prediction[p] == class_id and target[p] != ignore_index]
        for region in components(predicted):
            counts[class_id, bucket(len(region)), 1] += all(target[p] != class_id for p in region)
    return counts
