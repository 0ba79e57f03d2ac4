"""The confusion matrix of a data set, and its scores.

Counts are summed over the data set and divided once. A score is nan exactly where its denominator is zero, and means
leave out nan. So a class absent from both ground truth and prediction does not enter the mean IoU, and a class that is
only predicted enters as 0, as in the Cityscapes scripts, OpenMMLab and the macro Jaccard index of torchmetrics.
"""

import torch
from einops import rearrange
from jaxtyping import Float64, Int64, Integer
from torch import Tensor
from torchmetrics import Metric

from segattn.objects.ground_truth import check_class_range, check_same_shape


def confusion_counts(
    prediction: Integer[Tensor, "..."], target: Integer[Tensor, "..."], num_classes: int, ignore_index: int = 255
) -> Int64[Tensor, "k k"]:
    """Count the pixels of each pair of classes.

    Args:
        prediction: class indices 0..num_classes-1. Values at ignored pixels have no effect.
        target: class indices or ``ignore_index``, same shape.
        num_classes: number of classes k.
        ignore_index: value of ignored pixels.

    Returns:
        Pixel counts; rows are ground truth, columns are prediction.

    Raises:
        ValueError: if the shapes differ, or a pixel that is not ignored has a class outside 0..num_classes-1.

    Examples:
        >>> import torch
        >>> from segattn.metrics.functional import confusion_counts
        >>> prediction = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> confusion_counts(prediction, target, num_classes=2)
        tensor([[3, 1],
                [0, 3]])
    """
    check_same_shape(tuple(prediction.shape), tuple(target.shape))
    valid = target.long() != ignore_index  # a narrow type would wrap ignore_index around
    for name, labels in (("target", target), ("prediction", prediction)):
        wrong = ((labels < 0) | (labels >= num_classes)) & valid
        if wrong.any():
            check_class_range(name, int(labels[wrong].min()), int(labels[wrong].max()), num_classes)
    ignored = num_classes**2
    pairs = (target.long() * num_classes + prediction).where(valid, ignored)
    counts = torch.bincount(pairs.flatten(), minlength=ignored + 1)[:ignored]
    return rearrange(counts, "(k l) -> k l", l=num_classes)


def confusion_scores(confusion: Int64[Tensor, "k k"]) -> dict[str, Float64[Tensor, "..."]]:
    """All scores of a confusion matrix, see :func:`confusion_counts`.

    Returns:
        Per class, shape (k,), in 0..1 or nan: ``iou``, ``precision``, ``recall``, ``f1``. Recall is nan for a class
        without ground truth, precision for a class that is never predicted, IoU and F1 for a class with neither.
        Scalars, nan if nothing was counted: ``miou``, ``mean_accuracy`` (mean recall), ``mean_precision``, ``mean_f1``
        (these means leave out nan), ``pixel_accuracy``, ``frequency_weighted_iou`` (IoU weighted by ground-truth
        pixels).

    Examples:
        >>> import torch
        >>> from segattn.metrics.functional import confusion_scores
        >>> scores = confusion_scores(torch.tensor([[3, 1], [0, 3]]))
        >>> scores["miou"].item(), scores["recall"].tolist()
        (0.75, [0.75, 1.0])
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


class ConfusionMetric(Metric):
    """Confusion counts summed over images, batches and processes, and their scores.

    Args:
        num_classes: number of classes k.
        ignore_index: value of ignored pixels in targets.

    Attributes:
        confusion: int64 pixel counts (k, k); rows are ground truth, columns are prediction.

    Examples:
        >>> import torch
        >>> from segattn.metrics import ConfusionMetric
        >>> prediction = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> metric = ConfusionMetric(num_classes=2)
        >>> metric.update(prediction, target)
        >>> metric.compute()["iou"]
        tensor([0.7500, 0.7500], dtype=torch.float64)
    """

    full_state_update = False
    confusion: Int64[Tensor, "k k"]

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        empty = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", empty, dist_reduce_fx="sum")

    def update(self, prediction: Integer[Tensor, "..."], target: Integer[Tensor, "..."]) -> None:
        """Add a batch of label maps (b, h, w); see :func:`confusion_counts`."""
        self.confusion += confusion_counts(prediction, target, self.num_classes, self.ignore_index)

    def compute(self) -> dict[str, Float64[Tensor, "..."]]:
        """The scores of :func:`confusion_scores`."""
        return confusion_scores(self.confusion)
