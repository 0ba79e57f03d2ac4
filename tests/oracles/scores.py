"""Boundary IoU, image-level IoU and Cityscapes iIoU by plain loops."""

import math

import numpy as np


def band(mask, width):
    """Pixels removed by ``width`` erosions with a 3x3 square; everything outside the image is outside the mask."""
    eroded = np.pad(mask, 1)
    for _ in range(width):
        inner = np.zeros_like(eroded)
        for y in range(1, eroded.shape[0] - 1):
            for x in range(1, eroded.shape[1] - 1):
                inner[y, x] = eroded[y - 1 : y + 2, x - 1 : x + 2].all()
        eroded = inner
    return mask & ~eroded[1:-1, 1:-1]


def boundary_counts(prediction, target, num_classes, width, ignore_index=255):
    valid = target != ignore_index
    rows = []
    for c in range(num_classes):
        true, predicted = band((target == c) & valid, width), band((prediction == c) & valid, width)
        rows.append([int((true & predicted).sum()), int(true.sum()), int(predicted.sum())])
    return rows


def image_scores(pairs, num_classes, q, ignore_index=255):
    """mIoU^I, mIoU^C and their worst-q variants."""
    table = []
    for prediction, target in pairs:
        row = {}
        for c in range(num_classes):
            valid = target != ignore_index
            true, predicted = (target == c) & valid, (prediction == c) & valid
            if true.any():
                row[c] = (true & predicted).sum() / (true | predicted).sum()
        if row:
            table.append(row)

    def worst(values, percent):
        return float(np.mean(sorted(values)[: max(1, len(values) * percent // 100)]))

    by_image = [float(np.mean(list(row.values()))) for row in table]
    by_class = [[row[c] for row in table if c in row] for c in range(num_classes)]
    by_class = [values for values in by_class if values]
    result = {}
    for name, percent in (("", 100), (f"_worst{q}", q)):
        result[f"miou_image{name}"] = worst(by_image, percent)
        result[f"miou_class{name}"] = float(np.mean([worst(values, percent) for values in by_class]))
    return result


def instance_iou(images, class_id, average_size, ignore_index=255):
    """Cityscapes iIoU of one class over (prediction, target, instances)."""
    tp = fn = fp = 0.0
    for prediction, target, instances in images:
        valid = target != ignore_index
        fp += int(((prediction == class_id) & (target != class_id) & valid).sum())
        for i in np.unique(instances[(target == class_id) & (instances > 0)]):
            mask = (target == class_id) & (instances == i)
            weight = average_size / int(mask.sum())
            tp += int((prediction[mask] == class_id).sum()) * weight
            fn += int((prediction[mask] != class_id).sum()) * weight
    return tp / (tp + fp + fn) if tp + fp + fn else math.nan
