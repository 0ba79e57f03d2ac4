"""Instance-level IoU (iIoU) as the Cityscapes benchmark defines it.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016, arXiv 1604.01685, section
4.1: iTP / (iTP + FP + iFN), where true positives and false negatives of every annotated instance are weighted by the
average instance size of its class over the size of the instance. False positives belong to no instance and stay
unweighted.

Only annotated instances are weighted in, as in the official script; pixels of a class without an id add nothing.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float64, Int64, Integer
from torch import Tensor
from torchmetrics import Metric

from segattn.objects.target_objects import Array, TargetObjects, check_same_shape, shifted_classes, target_objects

CITYSCAPES_AVERAGE_SIZES: Mapping[str, float] = MappingProxyType(
    {
        "person": 3462.4756337644,
        "rider": 3930.4788056518,
        "car": 12794.0202738185,
        "truck": 27855.1264367816,
        "bus": 35732.1511111111,
        "train": 67583.7075812274,
        "motorcycle": 6298.7200839748,
        "bicycle": 4672.3249222261,
    }
)
"""Average instance sizes in pixels of 1024x2048 images, as in the official evaluation script."""


def instance_parts(
    prediction: Array, objects: TargetObjects, num_classes: int
) -> tuple[Float64[np.ndarray, "k 2"], Int64[np.ndarray, " k"]]:
    """Count one image.

    Args:
        prediction: class indices, shape (height, width); any value where the target is ignored.
        objects: the target's objects, found with instance ids.
        num_classes: number of classes k.

    Returns:
        Per class the sums over its instances of tp / size and of fn / size, and its false positives in pixels.

    Raises:
        ValueError: if the shapes differ or a pixel that counts holds a class outside 0..num_classes-1.
    """
    check_same_shape(prediction.shape, objects.labels.shape)
    predicted = shifted_classes("prediction", prediction, objects.classes != 0, num_classes)
    hit = predicted == objects.classes
    tp = np.bincount(objects.labels[hit], minlength=len(objects.size))[objects.named]
    size, class_id = objects.size[objects.named], objects.class_id[objects.named]
    shares = [np.bincount(class_id, weights=part / size, minlength=num_classes) for part in (tp, size - tp)]
    wrong = np.bincount(predicted[~hit], minlength=num_classes + 1)[1:]
    return np.stack(shares, axis=1), wrong


class InstanceIoU(Metric):
    """Cityscapes iIoU of the classes with instances.

    Args:
        num_classes: number of classes k.
        average_sizes: average instance size in pixels by class index; other classes have no score. For Cityscapes see
            :data:`CITYSCAPES_AVERAGE_SIZES`.
        ignore_index: target value of the pixels that do not count.

    Attributes:
        shares: float64 (k, 2): sums over instances of tp / size and of fn / size.
        wrong: int64 (k,): false positives in pixels.

    Raises:
        ValueError: if a class index or a size is out of range.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    shares: Float64[Tensor, "k 2"]
    wrong: Int64[Tensor, " k"]

    def __init__(self, num_classes: int, average_sizes: Mapping[int, float], *, ignore_index: int = 255) -> None:
        super().__init__()
        if not average_sizes or any(not 0 <= index < num_classes for index in average_sizes):
            raise ValueError(f"average_sizes needs class indices 0 to {num_classes - 1}, got {list(average_sizes)}.")
        if any(size <= 0 for size in average_sizes.values()):
            raise ValueError(f"average_sizes must be positive, got {list(average_sizes.values())}.")
        self.num_classes = num_classes
        self.average_sizes = dict(average_sizes)
        self.ignore_index = ignore_index
        self.add_state("shares", torch.zeros(num_classes, 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("wrong", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        prediction: Integer[Tensor, "b h w"],
        target: Integer[Tensor, "_ _ _"],
        instances: Integer[Tensor, "_ _ _"],
    ) -> None:
        """Add a batch of label maps with instance ids > 0, 0 where there is none."""
        check_same_shape(tuple(prediction.shape), tuple(target.shape))
        maps = zip(*(labels.cpu().numpy() for labels in (prediction, target, instances)), strict=True)
        for predicted, true, owners in maps:
            objects = target_objects(true, self.num_classes, ignore_index=self.ignore_index, instances=owners)
            shares, wrong = instance_parts(predicted, objects, self.num_classes)
            self.shares += torch.as_tensor(shares, device=self.shares.device)
            self.wrong += torch.as_tensor(wrong, device=self.wrong.device)

    def compute(self) -> dict[str, Float64[Tensor, "..."]]:
        """``iiou`` (k,), nan for classes without an average size or without pixels, and their mean ``miiou``."""
        sizes = self.shares.new_tensor([self.average_sizes.get(index, torch.nan) for index in range(self.num_classes)])
        tp, fn = (self.shares * sizes[:, None]).unbind(-1)
        iou = tp / (tp + fn + self.wrong)
        return {"miiou": iou.nanmean(), "iiou": iou}
