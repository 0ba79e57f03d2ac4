"""The confusion matrix of a data set as a metric."""

import torch
from jaxtyping import Float64, Int64, Integer
from torch import Tensor
from torchmetrics import Metric

from segattn.metrics.functional import confusion_counts, confusion_scores


class ConfusionMetric(Metric):
    """Confusion counts summed over images, batches and processes, and the scores of their sum.

    Args:
        num_classes: number of classes k.
        ignore_index: target value of the pixels that do not count.

    Attributes:
        confusion: int64 pixel counts (k, k); rows are ground truth, columns are prediction.

    Raises:
        ValueError: if there is no class.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Int64[Tensor, "k k"]

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}.")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        empty = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", empty, dist_reduce_fx="sum")

    def update(self, prediction: Integer[Tensor, "..."], target: Integer[Tensor, "..."]) -> None:
        """Add the counts of a batch of label maps (b, h, w); see :func:`functional.confusion_counts`."""
        self.confusion += confusion_counts(prediction, target, self.num_classes, self.ignore_index)

    def compute(self) -> dict[str, Float64[Tensor, "..."]]:
        """All scores of the summed counts; see :func:`functional.confusion_scores`."""
        return confusion_scores(self.confusion)
