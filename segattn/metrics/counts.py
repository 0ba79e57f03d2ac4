"""Confusion counts, and every score that follows from them.

Counts are summed over the data set and divided once. A score is nan exactly where its denominator is zero, and means
leave nan out. So a class absent from ground truth *and* prediction is left out of the mean IoU, and a class that is
only predicted counts there as 0, as in the Cityscapes scripts, OpenMMLab and torchmetrics' macro Jaccard index.
"""

import torch
from einops import rearrange
from jaxtyping import Float64, Int64, Integer
from torch import Tensor

from segattn.objects.target_objects import check_class_range, check_same_shape


def confusion_counts(
    prediction: Integer[Tensor, "..."], target: Integer[Tensor, "..."], num_classes: int, ignore_index: int = 255
) -> Int64[Tensor, "k k"]:
    """Count the pixels of every pair of classes.

    Args:
        prediction: class indices 0..num_classes-1; any value where the target is ignored.
        target: ground truth of the same shape: class indices or ``ignore_index``.
        num_classes: number of classes k.
        ignore_index: target value of the pixels that do not count.

    Returns:
        Pixel counts; rows are ground truth, columns are prediction.

    Raises:
        ValueError: if the shapes differ or a pixel that counts holds a class outside 0..num_classes-1.
    """
    check_same_shape(tuple(prediction.shape), tuple(target.shape))
    valid = target != ignore_index
    for name, labels in (("target", target), ("prediction", prediction)):
        wrong = ((labels < 0) | (labels >= num_classes)) & valid
        if wrong.any():
            check_class_range(name, int(labels[wrong].min()), int(labels[wrong].max()), num_classes)
    ignored = num_classes**2
    pairs = (target.long() * num_classes + prediction).where(valid, ignored)
    counts = torch.bincount(pairs.flatten(), minlength=ignored + 1)[:ignored]
    return rearrange(counts, "(k l) -> k l", l=num_classes)


def confusion_scores(confusion: Int64[Tensor, "k k"]) -> dict[str, Float64[Tensor, "..."]]:
    """All scores of one confusion matrix.

    Args:
        confusion: pixel counts; rows are ground truth, columns are prediction.

    Returns:
        Per class, shape (k,), each in 0..1 or nan: ``iou``, ``precision``, ``recall``, ``f1``. Recall is nan for a
        class without ground truth, precision for one that is never predicted, IoU and F1 for one that is neither.
        Scalars, nan if nothing was counted: ``miou``, ``mean_accuracy`` (mean recall), ``mean_precision``, ``mean_f1``
        (means that leave nan out), ``pixel_accuracy``, ``frequency_weighted_iou`` (IoU by ground-truth pixels).
    """
    tp = confusion.diagonal().double()
    actual, predicted = confusion.sum(1).double(), confusion.sum(0).double()
    union, total = actual + predicted - tp, actual.sum()
    iou, precision, recall, f1 = tp / union, tp / predicted, tp / actual, 2 * tp / (actual + predicted)
    return {
        "miou": iou.nanmean(),
        "pixel_accuracy": tp.sum() / total,
        "mean_accuracy": recall.nanmean(),
        "mean_precision": precision.nanmean(),
        "mean_f1": f1.nanmean(),
        "frequency_weighted_iou": (actual * iou).nansum() / total,
        "iou": iou,
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


def size_scores(counts: Int64[Tensor, "k b 4"], min_objects: int = 1) -> dict[str, Tensor]:
    """Scores per class and size from summed counts.

    The set of classes behind a mean depends on the ground truth alone, never on a prediction.

    Args:
        counts: true positives, false positives, false negatives and ground-truth objects per class and size.
        min_objects: ground-truth objects that a class needs at a size to enter the means.

    Returns:
        ``iou`` and ``recall`` (k, b), nan where nothing was counted; their means over the classes with enough objects,
        ``miou`` and ``mrecall`` (b,), nan if there is no such class; the number of those classes, ``classes`` (b,), and
        of their objects, ``objects`` (b,).
    """
    tp, fp, fn, objects = counts.unbind(-1)
    iou, recall = tp.double() / (tp + fp + fn), tp.double() / (tp + fn)
    supported = objects >= min_objects
    return {
        "miou": iou.where(supported, torch.nan).nanmean(0),
        "mrecall": recall.where(supported, torch.nan).nanmean(0),
        "classes": supported.sum(0),
        "objects": (objects * supported).sum(0),
        "iou": iou,
        "recall": recall,
    }
