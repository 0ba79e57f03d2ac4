"""Instance-level IoU (iIoU) of the Cityscapes benchmark.

Cordts et al.: The Cityscapes Dataset for Semantic Urban Scene Understanding. CVPR 2016,
https://arxiv.org/abs/1604.01685, section 4.1.

    iIoU = iTP / (iTP + FP + iFN)

The true positives and false negatives of each annotated instance are weighted by the average instance size of its class
divided by the size of the instance. False positives belong to no instance and have weight 1.

Differences from the paper: none. As in the official script, pixels of a class without an instance id add no true
positives or false negatives.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from segattn.metrics.attribution import Attribution

CITYSCAPES_AVERAGE_SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
"""Average instance sizes in pixels of 1024x2048 images, from the official evaluation script."""


def instance_parts(rows: Attribution, num_classes: int) -> tuple[Float64[np.ndarray, "k 2"], Int64[np.ndarray, " k"]]:
    """For each class the sums of tp / size and of fn / size over its instances, and its false positives in pixels.

    Examples:
        >>> import numpy as np
        >>> from segattn.metrics.functional import attribute, instance_parts, target_objects
        >>> target, instances = np.array([[0, 0, 1, 1], [0, 0, 1, 1]]), np.array([[0, 0, 1, 1], [0, 0, 2, 2]])
        >>> rows = attribute(np.array([[0, 0, 1, 1], [0, 0, 1, 0]]), target_objects(target, 2, instances=instances), 2)
        >>> shares, false_positives = instance_parts(rows, 2)
        >>> shares.tolist(), false_positives.tolist()
        ([[0.0, 0.0], [1.5, 0.5]], [1, 0])
    """
    instance = np.flatnonzero(rows.objects.is_instance[1:])
    class_id, size = rows.class_id[instance], rows.size[instance]
    shares = [
        np.bincount(class_id, weights=part[instance] / size, minlength=num_classes) for part in (rows.tp, rows.fn)
    ]
    false_positives = np.bincount(rows.class_id, weights=rows.fp, minlength=num_classes)
    return np.stack(shares, axis=1), false_positives.astype(np.int64)


class InstanceIoU(Metric):
    """Cityscapes iIoU of the classes with instances.

    Args:
        num_classes: number of classes k.
        average_sizes: average instance size in pixels by class index, for Cityscapes :data:`CITYSCAPES_AVERAGE_SIZES`.
            Other classes have no score.

    Attributes:
        shares: float64 (k, 2): sums over instances of tp / size and of fn / size.
        false_positives: int64 (k,), in pixels.

    Examples:
        >>> import numpy as np
        >>> from segattn.metrics import InstanceIoU
        >>> from segattn.metrics.functional import attribute, target_objects
        >>> target, instances = np.array([[0, 0, 1, 1], [0, 0, 1, 1]]), np.array([[0, 0, 1, 1], [0, 0, 2, 2]])
        >>> rows = attribute(np.array([[0, 0, 1, 1], [0, 0, 1, 0]]), target_objects(target, 2, instances=instances), 2)
        >>> metric = InstanceIoU(num_classes=2, average_sizes={1: 2.0})
        >>> metric.update([rows])
        >>> metric.compute()["miiou"].item()
        0.75
    """

    full_state_update = False
    shares: Float64[Tensor, "k 2"]
    false_positives: Int64[Tensor, " k"]

    def __init__(self, num_classes: int, average_sizes: Mapping[int, float]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.average_sizes = dict(average_sizes)
        self.add_state("shares", torch.zeros(num_classes, 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("false_positives", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, rows: Sequence[Attribution]) -> None:
        """Add the images of a batch, given by their attributions."""
        for image in rows:
            shares, false_positives = instance_parts(image, self.num_classes)
            self.shares += torch.as_tensor(shares, device=self.shares.device)
            self.false_positives += torch.as_tensor(false_positives, device=self.shares.device)

    def compute(self) -> dict[str, Float64[Tensor, "..."]]:
        """``iiou`` (k,), nan for classes without an average size or without pixels, and their mean ``miiou``."""
        sizes = self.shares.new_tensor([self.average_sizes.get(index, torch.nan) for index in range(self.num_classes)])
        tp, fn = (self.shares * sizes[:, None]).unbind(-1)
        iou = tp / (tp + fn + self.false_positives)
        return {"miiou": iou.nanmean(), "iiou": iou}
