"""Losses pixel by pixel, in plain Python."""

import math

import numpy as np

from tests.oracles.object_size import objects_of


def log_softmax(logits):
    top = max(logits)
    total = sum(math.exp(value - top) for value in logits)
    return [value - top - math.log(total) for value in logits]


def valid_pixels(logits, mask, ignore_index):
    """The true class and the log-probabilities of every pixel that is not ignored."""
    batch, classes, height, width = logits.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                label = int(mask[b, y, x])
                if label != ignore_index:
                    yield label, log_softmax([float(logits[b, c, y, x]) for c in range(classes)])


def pixel_losses(logits, mask, weights, ignore_index):
    """Weighted cross-entropy, weight and probability of the true class of every valid pixel."""
    return [
        (-weights[label] * scores[label], weights[label], math.exp(scores[label]))
        for label, scores in valid_pixels(logits, mask, ignore_index)
    ]


def cross_entropy(logits, mask, weights, ignore_index):
    rows = pixel_losses(logits, mask, weights, ignore_index)
    return sum(loss for loss, _, _ in rows) / sum(weight for _, weight, _ in rows) if rows else 0.0


def ohem(logits, mask, weights, ignore_index, *, threshold, min_kept):
    """Mean loss of the pixels below the threshold, or of the ``min_kept`` per image with the lowest probability."""
    rows = sorted(pixel_losses(logits, mask, weights, ignore_index), key=lambda row: row[2])
    if not rows:
        return 0.0
    limit = max(threshold, rows[min(min_kept * len(logits), len(rows)) - 1][2])
    kept = [loss for loss, _, probability in rows if probability <= limit]
    return sum(kept) / len(kept)


def object_balanced_cross_entropy(logits, mask, ignore_index, *, exponent, min_area):
    """Every pixel weighted by the area of its component to the power ``-exponent``, over the sum of the weights."""
    total = weights = 0.0
    for image_logits, image_mask in zip(logits, mask.numpy(), strict=True):
        for label in sorted(set(np.unique(image_mask).tolist()) - {ignore_index}):
            for pixels in objects_of(image_mask, label, ignore_index, None):
                weight = max(len(pixels), min_area) ** -exponent
                for y, x in pixels:
                    scores = log_softmax([float(value) for value in image_logits[:, y, x]])
                    total -= weight * scores[label]
                    weights += weight
    return total / weights if weights else 0.0


def dice(logits, mask, ignore_index):
    """1 - 2 |P T| / (|P| + |T|) of each class with a pixel, averaged."""
    classes = logits.shape[1]
    shared, predicted, true = ([0.0] * classes for _ in range(3))
    for label, scores in valid_pixels(logits, mask, ignore_index):
        for c in range(classes):
            predicted[c] += math.exp(scores[c])
        shared[label] += math.exp(scores[label])
        true[label] += 1
    losses = [1 - 2 * shared[c] / (predicted[c] + true[c]) for c in range(classes) if true[c]]
    return sum(losses) / len(losses)
