"""Image-level and class-level mIoU: large objects do not outweigh the small objects of other images.

Wang et al.: Revisiting Evaluation Metrics for Semantic Segmentation: Optimization and Evaluation of Fine-grained
Intersection over Union. NeurIPS 2023, https://arxiv.org/abs/2310.19252.

IoU is computed per image and class, for the classes in the ground truth of the image. mIoU^I averages over the classes
of each image, then over images. mIoU^C averages over the images of each class, then over classes. The worst-q variants
average the lowest q percent of the images, or of the images of each class, rounded down but at least one. A class
without ground truth does not enter mIoU^C, and an image without labelled pixels enters neither.

Differences from the paper: none.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64, Int64, Integer
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from segattn.metrics.confusion import confusion_counts
from segattn.objects.ground_truth import check_same_shape

DECILES = tuple(range(10, 110, 10))


def image_counts(
    prediction: Integer[Tensor, "b h w"], target: Integer[Tensor, "_ _ _"], num_classes: int, ignore_index: int = 255
) -> Int64[Tensor, "b k 3"]:
    """True positives, false positives and false negatives of each image and class; see :func:`confusion_counts`.

    Examples:
        >>> import torch
        >>> from segattn.metrics.functional import image_counts
        >>> prediction = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> image_counts(prediction[None], target[None], num_classes=2)
        tensor([[[3, 0, 1],
                 [3, 1, 0]]])
    """
    check_same_shape(tuple(prediction.shape), tuple(target.shape))
    pairs = zip(prediction, target, strict=True)
    confusion = torch.stack([confusion_counts(*pair, num_classes, ignore_index) for pair in pairs])
    tp = confusion.diagonal(dim1=1, dim2=2)
    return torch.stack([tp, confusion.sum(1) - tp, confusion.sum(2) - tp], dim=2)


def image_scores(counts: Int64[Tensor, "n k 3"], worst: Sequence[int] = ()) -> dict[str, Float64[Tensor, ""]]:
    """Image-level and class-level mIoU from the counts of all images.

    Args:
        counts: see :func:`image_counts`.
        worst: percentages q of the worst-q variants.

    Returns:
        ``miou_image`` and ``miou_class``; for each q ``miou_image_worst{q}`` and ``miou_class_worst{q}``; with the
        suffix ``_worst`` the mean over q = 10, 20, ..., 100.

    Examples:
        >>> import torch
        >>> from segattn.metrics.functional import image_scores
        >>> scores = image_scores(torch.tensor([[[3, 0, 1], [3, 1, 0]], [[1, 0, 1], [0, 0, 0]]]), worst=[50])
        >>> scores["miou_image"].item(), scores["miou_image_worst50"].item()
        (0.625, 0.5)
    """
    tp, fp, fn = counts.double().unbind(-1)
    present = tp + fn > 0
    iou = (tp / (tp + fp + fn)).where(present, torch.nan)
    per_image = iou.nanmean(1, keepdim=True)
    levels = {"image": (per_image, ~per_image.isnan()), "class": (iou, present)}
    scores = {}
    for level, (values, counted) in levels.items():
        scores[f"miou_{level}"] = _worst_mean(values, counted, 100)
        scores[f"miou_{level}_worst"] = torch.stack([_worst_mean(values, counted, q) for q in DECILES]).mean()
        scores |= {f"miou_{level}_worst{q}": _worst_mean(values, counted, q) for q in worst}
    return scores


def _worst_mean(values: Float64[Tensor, "n k"], counted: Bool[Tensor, "n k"], q: int) -> Float64[Tensor, ""]:
    """Mean over the columns of the mean of the lowest q percent of each column."""
    number = counted.sum(0)
    taken = (number * q // 100).clamp(min=1)
    ascending = values.where(counted, torch.inf).sort(0).values
    rank = torch.arange(len(values), device=values.device)[:, None]
    sums = ascending.where(rank < taken, 0).sum(0)
    return (sums / taken).where(number > 0, torch.nan).nanmean()


class ImageLevelIoU(Metric):
    """Image-level and class-level mIoU with their worst-q variants.

    Args:
        num_classes: number of classes k.
        ignore_index: value of ignored pixels in targets.
        worst: percentages q of the worst-q variants, 1 to 100.

    Attributes:
        counts: int64 (b, k, 3) of each batch, see :func:`image_counts`. They cannot be summed over images.

    Examples:
        >>> import torch
        >>> from segattn.metrics import ImageLevelIoU
        >>> prediction = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> metric = ImageLevelIoU(num_classes=2)
        >>> metric.update(prediction[None], target[None])
        >>> metric.compute()["miou_image"]
        tensor(0.7500, dtype=torch.float64)
    """

    full_state_update = False
    counts: list[Tensor]

    def __init__(self, num_classes: int, *, ignore_index: int = 255, worst: Sequence[int] = (1, 5, 10)) -> None:
        super().__init__()
        if any(not 1 <= q <= 100 for q in worst):
            raise ValueError(f"worst must be percentages from 1 to 100, got {list(worst)}.")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.worst = tuple(worst)
        self.add_state("counts", [], dist_reduce_fx="cat")

    def update(self, prediction: Integer[Tensor, "b h w"], target: Integer[Tensor, "_ _ _"]) -> None:
        """Add a batch of label maps."""
        self.counts.append(image_counts(prediction, target, self.num_classes, self.ignore_index).to(self.device))

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """The scores of :func:`image_scores`."""
        return image_scores(dim_zero_cat(self.counts), self.worst)
