"""Scores of a list of record rows by plain loops, written from docs/object_size.md alone."""

import math


def mean(values):
    values = [value for value in values if not math.isnan(value)]
    return sum(values) / len(values) if values else math.nan


def ratio(part, whole):
    return part / whole if whole else math.nan


def scores(rows, classes, buckets, supported):
    """Of rows (dicts with a ``bucket``): mIoU, and every bucket's means over the supported classes with objects."""

    def counts(chosen):
        return [sum(row[key] for row in chosen) for key in ("tp", "fp", "fn")]

    def iou(chosen):
        return ratio(counts(chosen)[0], sum(counts(chosen)))

    def recall(chosen):
        tp, _, fn = counts(chosen)
        return ratio(tp, tp + fn)

    result = {"miou": mean([iou([r for r in rows if r["class_id"] == c]) for c in range(classes)])}
    result["mean_accuracy"] = mean([recall([r for r in rows if r["class_id"] == c]) for c in range(classes)])
    for bucket in range(buckets):
        cells = [[r for r in rows if r["class_id"] == c and r["bucket"] == bucket] for c in range(classes)]
        present = [
            cell
            for c, cell in enumerate(cells)
            if (c, bucket) in supported and any(r["kind"] == "object" for r in cell)
        ]
        result[f"miou_{bucket}"] = mean([iou(cell) for cell in present])
        result[f"mrecall_{bucket}"] = mean([recall(cell) for cell in present])
    return result


def found_scores(rows, classes, buckets, supported, images, threshold=0.5):
    """Means of objects found, precision and F1, and false alarms per image, by bucket; ``None`` is all sizes."""
    result = {}
    for bucket in (None, *range(buckets)):
        chosen = [row for row in rows if bucket is None or row["bucket"] == bucket]
        shares, precisions, f1s, alarms = [], [], [], 0
        for c in range(classes):
            own = [row for row in chosen if row["class_id"] == c]
            objects = [row for row in own if row["kind"] == "object"]
            found = sum(row["tp"] / row["size_px"] > threshold for row in objects)
            false = sum(row["kind"] == "false_positive" and row["fp"] == row["size_px"] for row in own)
            alarms += false
            if (c, bucket) in supported and objects:
                shares.append(found / len(objects))
                precisions.append(ratio(found, found + false))
                f1s.append(ratio(2 * found, len(objects) + found + false))
        result[bucket] = [mean(shares), mean(precisions), mean(f1s), alarms / images]
    return result


def lost_scores(rows, classes, buckets, supported):
    """The mean share of the union (tp + fp + fn) that boundary, extent and segment errors are, by bucket."""
    result = {}
    for bucket in (None, *range(buckets)):
        lost = []
        for c in range(classes):
            own = [row for row in rows if row["class_id"] == c and bucket in (None, row["bucket"])]
            has_object = any(row["kind"] == "object" for row in own)
            if bucket is not None and not (has_object and (c, bucket) in supported):
                continue
            boundary = extent = segment = 0
            for row in own:
                false = row["fp"] + row["fn"]
                near = row["fp_boundary"] + row["fn_boundary"]
                if row["kind"] == "object":
                    missed = row["fn"] if row["tp"] == 0 else 0
                else:
                    missed = row["fp"] if row["fp"] == row["size_px"] else 0
                boundary, segment, extent = boundary + near, segment + missed, extent + false - near - missed
            union = sum(row["tp"] + row["fp"] + row["fn"] for row in own)
            lost.append([ratio(pixels, union) for pixels in (boundary, extent, segment)])
        result[bucket] = [mean(values) for values in zip(*lost, strict=True)] or [math.nan] * 3
    return result
