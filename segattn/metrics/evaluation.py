"""The scores of one evaluation: the confusion counts on the device, the size metric on a CPU thread beside it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy.typing as npt
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torchmetrics import Metric

from segattn.metrics import BoundaryIoU, ConfusionMetric, ImageLevelIoU, InstanceIoU, ObjectSizeIoU
from segattn.metrics.background import BackgroundUpdates
from segattn.metrics.functional import TargetObjects, target_objects
from segattn.metrics.instance_iou import CITYSCAPES_AVERAGE_SIZES
from segattn.objects.size_bins import ObjectSizes
from segattn.sample import IGNORE_INDEX, Batch, ClassTable


@dataclass(frozen=True)
class FurtherScores:
    """Scores that people compare with; ``validate`` and ``test`` compute them, ``fit`` does not.

    Cityscapes' iIoU is among them where the ground truth has instances and the class table has the Cityscapes names
    that it is defined for.

    Attributes:
        boundary_width: width of the band of boundary IoU, as a fraction of the image's diagonal.
        worst: percentages q of the worst-q variants of the image-level and class-level mIoU.
    """

    boundary_width: float = 0.02
    worst: tuple[int, ...] = (1, 5, 10)

    def metrics(self, classes: ClassTable) -> nn.ModuleDict:
        """The metrics for a data set by name."""
        count = len(classes)
        metrics: dict[str, Metric] = {
            "boundary": BoundaryIoU(count, diagonal_fraction=self.boundary_width),
            "images": ImageLevelIoU(count, worst=self.worst),
        }
        if set(CITYSCAPES_AVERAGE_SIZES) <= set(classes.names):
            sizes = {classes.names.index(name): size for name, size in CITYSCAPES_AVERAGE_SIZES.items()}
            metrics["instances"] = InstanceIoU(count, sizes)
        return nn.ModuleDict(metrics)


def size_metric(sizes: ObjectSizes, classes: ClassTable) -> ObjectSizeIoU:
    """The metric of object sizes for a data set."""
    options: dict[str, Any] = {"relative": sizes.relative, "names": sizes.names, "min_objects": sizes.min_objects}
    return ObjectSizeIoU(len(classes), edges=sizes.edges, things=classes.things, **options)


class Evaluation(nn.Module):
    """Collects predictions at annotation resolution and gives their scores.

    Args:
        classes: of the data set.
        object_sizes: how scores are split by object size; None does not split them.
        further_scores: which scores are computed beside them; None for none.

    Attributes:
        scores: of the last evaluation: those of :meth:`segattn.metrics.ConfusionMetric.compute`; those of
            :meth:`segattn.metrics.ObjectSizeIoU.compute` under ``sizes`` and the further ones under ``further``, where
            they were computed.
    """

    def __init__(
        self, classes: ClassTable, object_sizes: ObjectSizes | None, further_scores: FurtherScores | None = None
    ) -> None:
        super().__init__()
        self.classes = classes
        self.confusion = ConfusionMetric(len(classes))
        self.sizes = size_metric(object_sizes, classes) if object_sizes else None
        self.further = further_scores.metrics(classes) if further_scores else nn.ModuleDict()
        self.boundary_width = further_scores.boundary_width if further_scores else 0.0
        self.scores: dict[str, Any] = {}
        self.unit = "8-connected components"
        self._updates = BackgroundUpdates()

    @property
    def find_objects(self) -> Callable[[npt.NDArray[Any], npt.NDArray[Any] | None], TargetObjects]:
        """The half of the size metric that needs the ground truth alone, for the loading workers."""
        return partial(_find_objects, len(self.classes))

    @property
    def conventions(self) -> str:
        """One line on how the scores are to be read."""
        line = "Whole images at annotation resolution, one scale, no flip; ignored pixels do not count; a class that "
        line += "is neither present nor predicted is left out of the means."
        if "further" in self.scores:
            line += f" Boundaries are bands of {self.boundary_width:g} of the image's diagonal."
        if self.sizes is None or "sizes" not in self.scores:
            return line
        unit = "of the image's area" if self.sizes.relative else "pixels"
        bounds = " <= ".join(
            f"{name} < {edge:g}" for name, edge in zip(self.sizes.names, self.sizes.edges, strict=False)
        )
        return (
            f"{line} Sizes in {unit}: {bounds} <= {self.sizes.names[-1]}; objects are {self.unit}; a bucket averages "
            f"classes with at least {self.sizes.min_objects} of them."
        )

    def update(self, prediction: Int64[Tensor, "b h w"], batch: Batch, *, with_sizes: bool, with_further: bool) -> None:
        """Add the predicted classes of a batch; the costlier scores follow while the next batch is computed."""
        self.confusion.update(prediction, batch["mask"])
        if "instances" in batch:
            self.unit = "instances, and components where a pixel has none"
        if (self.sizes and with_sizes) or (self.further and with_further):
            on_cpu = prediction.to(torch.uint8).cpu()
            self._updates.submit(self._update, on_cpu, batch, with_sizes=with_sizes, with_further=with_further)

    def compute(self, *, with_sizes: bool, with_further: bool) -> dict[str, Any]:
        """The scores of all images and processes since the last call."""
        self._updates.join()
        self.scores = {**self.confusion.compute()}
        self.confusion.reset()
        if self.sizes and with_sizes:
            self.scores["sizes"] = self.sizes.compute()
            self.sizes.reset()
        if self.further and with_further:
            self.scores["further"] = {}
            for metric in self._further_metrics():
                self.scores["further"] |= metric.compute()
                metric.reset()
        return self.scores

    def _further_metrics(self) -> list[Metric]:
        return [metric for metric in self.further.values() if isinstance(metric, Metric)]

    def _update(self, prediction: Tensor, batch: Batch, *, with_sizes: bool, with_further: bool) -> None:
        mask, instances = batch["mask"].cpu(), batch.get("instances")
        if self.sizes and with_sizes:
            self.sizes.update(prediction, mask, instances, objects=batch.get("objects"))
        if with_further:
            for metric in self._further_metrics():
                if not isinstance(metric, InstanceIoU):
                    metric.update(prediction, mask)
                elif instances is not None:
                    metric.update(prediction, mask, instances)


def _find_objects(
    num_classes: int, mask: npt.NDArray[Any], instances: npt.NDArray[Any] | None
) -> TargetObjects:  # a function of the module, so that loading workers can be started in any way
    return target_objects(mask, num_classes, ignore_index=IGNORE_INDEX, instances=instances)
