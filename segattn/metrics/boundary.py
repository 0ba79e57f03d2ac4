"""Boundary IoU: how well the outlines of the classes coincide.

Cheng et al.: Boundary IoU: Improving Object-Centric Image Segmentation Evaluation. CVPR 2021,
https://arxiv.org/abs/2103.16562.

    |G_d & P_d| / |G_d | P_d|

For each class, G_d are the ground-truth pixels within d pixels of the contour of the mask: those that an erosion with a
square of side 2d + 1 removes. P_d is the same for the prediction. As in the authors' code, everything outside the image
counts as outside the mask.

Differences from the paper: semantic classes instead of instances, with counts summed over the data set. Ignored pixels
belong to no mask; along an ignored area the outlines of ground truth and prediction count where both have the class.
"""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float64, Int64, Integer
from torch import Tensor
from torchmetrics import Metric

from segattn.objects.ground_truth import Array, check_same_shape, shifted_classes


def boundary_width(height: int, width: int, diagonal_fraction: float) -> int:
    """Width d of the band in pixels: a fraction of the image diagonal, at least 1.

    Examples:
        >>> from segattn.metrics.functional import boundary_width
        >>> boundary_width(1024, 2048, diagonal_fraction=0.005)
        11
    """
    return max(1, round(diagonal_fraction * math.hypot(height, width)))


def boundary_counts(
    prediction: Array, target: Array, num_classes: int, *, width: int, ignore_index: int = 255
) -> Int64[np.ndarray, "k 3"]:
    """Pixels of each class in both bands, in the band of the target, and in the band of the prediction.

    Maps and errors are those of :func:`confusion_counts`, for one image; ``width`` is that of the band in pixels.

    Examples:
        >>> import numpy as np
        >>> from segattn.metrics.functional import boundary_counts
        >>> prediction = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> boundary_counts(prediction, target, 2, width=1)
        array([[3, 4, 3],
               [3, 3, 4]])
    """
    check_same_shape(prediction.shape, target.shape)
    valid = target != ignore_index
    predicted = shifted_classes("prediction", prediction, valid, num_classes)
    true = shifted_classes("target", target, valid, num_classes)
    for classes in (predicted, true):
        classes *= _band(classes, width)
    maps = (true * (true == predicted), true, predicted)
    return np.stack([np.bincount(classes.ravel(), minlength=num_classes + 1)[1:] for classes in maps], axis=1)


def _band(classes: Array, width: int) -> Array:
    """Pixels with another value in the square of side 2 * width + 1 around them, which an erosion would remove."""
    square = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    lowest = cv2.erode(classes, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    band: Array = lowest != cv2.dilate(classes, square)
    return band


class BoundaryIoU(Metric):
    """Boundary IoU of each class over the data set.

    Args:
        num_classes: number of classes k.
        ignore_index: value of ignored pixels in targets.
        diagonal_fraction: width of the band relative to the image diagonal. The paper uses 0.02 for COCO and LVIS, and
            0.005 for Cityscapes.

    Attributes:
        counts: int64 (k, 3), see :func:`boundary_counts`.

    Examples:
        >>> import torch
        >>> from segattn.metrics import BoundaryIoU
        >>> prediction = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> metric = BoundaryIoU(num_classes=2)
        >>> metric.update(prediction[None], target[None])
        >>> metric.compute()["boundary_miou"]
        tensor(0.7500, dtype=torch.float64)
    """

    full_state_update = False
    counts: Int64[Tensor, "k 3"]

    def __init__(self, num_classes: int, *, ignore_index: int = 255, diagonal_fraction: float = 0.02) -> None:
        super().__init__()
        if diagonal_fraction <= 0:
            raise ValueError(f"diagonal_fraction must be positive, got {diagonal_fraction}.")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.diagonal_fraction = diagonal_fraction
        self.add_state("counts", torch.zeros(num_classes, 3, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Integer[Tensor, "b h w"], target: Integer[Tensor, "_ _ _"]) -> None:
        """Add a batch of label maps."""
        check_same_shape(tuple(prediction.shape), tuple(target.shape))
        _, height, width = prediction.shape
        band = boundary_width(height, width, self.diagonal_fraction)
        for predicted, true in zip(prediction.cpu().numpy(), target.cpu().numpy(), strict=True):
            counts = boundary_counts(predicted, true, self.num_classes, width=band, ignore_index=self.ignore_index)
            self.counts += torch.as_tensor(counts, device=self.counts.device)

    def compute(self) -> dict[str, Float64[Tensor, "..."]]:
        """``boundary_iou`` (k,), nan for a class without pixels in any band, and its mean ``boundary_miou``."""
        both, target, prediction = self.counts.double().unbind(-1)
        iou = both / (target + prediction - both)
        return {"boundary_miou": iou.nanmean(), "boundary_iou": iou}
