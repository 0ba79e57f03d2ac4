"""The scores of an evaluation: confusion counts on the device, all others on a CPU thread."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torchmetrics import Metric

from segattn.metrics.attribution import attribute
from segattn.metrics.boundary import BoundaryIoU
from segattn.metrics.confusion import ConfusionMetric
from segattn.metrics.image_level import ImageLevelIoU
from segattn.metrics.instance_iou import CITYSCAPES_AVERAGE_SIZES, InstanceIoU
from segattn.metrics.object_size import ObjectSizeIoU
from segattn.metrics.record_columns import record_columns
from segattn.objects.ground_truth import Array, target_objects
from segattn.objects.size_bins import ObjectSizes
from segattn.sample import IGNORE_INDEX, Batch, ClassTable

MAX_PENDING = 8
"""Batches that may wait for the CPU thread."""

PER_CLASS = ("iou", "precision", "recall", "f1", "boundary_iou", "iiou")
"""Scores with one value per class."""


@dataclass(frozen=True)
class FurtherScores:
    """Additional scores that ``validate`` and ``test`` compute and ``fit`` does not.

    They include Cityscapes iIoU if the ground truth has instances and the class names are those of Cityscapes.

    Attributes:
        boundary_width: width of the band of boundary IoU, as a fraction of the image diagonal.
        worst: percentages q of the worst-q variants of the image-level and class-level mIoU.
    """

    boundary_width: float = 0.02
    worst: tuple[int, ...] = (1, 5, 10)


class Evaluation(nn.Module):
    """Collects predictions at annotation resolution and computes their scores.

    Each image is attributed once (:func:`segattn.metrics.functional.attribute`). The scores by object size, iIoU and
    the object record are made from these rows. One thread does this work in order, so the states need no lock. At most
    :data:`MAX_PENDING` batches wait for it.

    Args:
        classes: classes of the data set.
        object_sizes: how to split scores by object size; None does not split them.
        further_scores: additional scores; None for none.

    Attributes:
        scores: scores of the last evaluation: those of :meth:`segattn.metrics.ConfusionMetric.compute`, and, if
            computed, those of :meth:`segattn.metrics.ObjectSizeIoU.compute` under ``sizes`` and the additional ones
            under ``further``.
        keep_rows: whether to keep the rows of the object record for :meth:`take_rows`.
    """

    def __init__(
        self, classes: ClassTable, object_sizes: ObjectSizes | None, further_scores: FurtherScores | None = None
    ) -> None:
        super().__init__()
        self.classes = classes
        count = len(classes)
        self.confusion = ConfusionMetric(count)
        self.sizes = ObjectSizeIoU(count, object_sizes, things=classes.things) if object_sizes else None
        self.further = nn.ModuleDict()
        if further_scores:
            self.further["boundary"] = BoundaryIoU(count, diagonal_fraction=further_scores.boundary_width)
            self.further["images"] = ImageLevelIoU(count, worst=further_scores.worst)
            if set(CITYSCAPES_AVERAGE_SIZES) <= set(classes.names):
                sizes = {classes.names.index(name): size for name, size in CITYSCAPES_AVERAGE_SIZES.items()}
                self.further["instances"] = InstanceIoU(count, sizes)
        self.boundary_width = further_scores.boundary_width if further_scores else 0.0
        self.scores: dict[str, Any] = {}
        self.unit = "8-connected components"
        self.keep_rows = False
        self._rows: deque[dict[str, Array]] = deque()
        self._thread: ThreadPoolExecutor | None = None
        self._pending: deque[Future[None]] = deque()

    @property
    def conventions(self) -> str:
        """One line that says how to read the scores."""
        line = "Complete images at annotation resolution. Ignored pixels do not count. A class that is neither present "
        line += "nor predicted is left out of the means."
        if "further" in self.scores:
            line += f" Boundary bands are {self.boundary_width:g} of the image diagonal wide."
        if self.sizes is None or "sizes" not in self.scores:
            return line
        sizes = self.sizes.sizes
        bounds = " <= ".join(f"{name} < {edge:g}" for name, edge in zip(sizes.names, sizes.edges, strict=False))
        return (
            f"{line} Sizes in {'fractions of the image area' if sizes.relative else 'pixels'}: {bounds} <= "
            f"{sizes.names[-1]}. Objects are {self.unit}. A bucket averages the classes with at least "
            f"{sizes.min_objects} of them."
        )

    def update(self, prediction: Int64[Tensor, "b h w"], batch: Batch, *, with_sizes: bool, with_further: bool) -> None:
        """Add the predicted classes of a batch. Only the confusion counts are updated before it returns."""
        self.confusion.update(prediction, batch["mask"])
        if "instances" in batch:
            self.unit = "instances, and components where a pixel has no instance"
        if (self.sizes and with_sizes) or (self.further and with_further) or self.keep_rows:
            while len(self._pending) >= MAX_PENDING:
                self._pending.popleft().result()
            if self._thread is None:
                self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
            on_cpu = prediction.to(torch.uint8).cpu()
            needed = {key: value for key, value in batch.items() if key != "image"}  # do not keep images in memory
            options = {"with_sizes": with_sizes, "with_further": with_further}
            self._pending.append(self._thread.submit(self._update, on_cpu, needed, **options))

    def compute(self, *, with_sizes: bool, with_further: bool) -> dict[str, Any]:
        """The scores of all images and processes since the last call."""
        while self._pending:
            self._pending.popleft().result()
        self._thread = None
        self.scores = _with_vectors(self.confusion.compute())
        self.confusion.reset()
        if self.sizes and with_sizes:
            self.scores["sizes"] = self.sizes.compute()
            self.sizes.reset()
        if self.further and with_further:
            self.scores["further"] = {}
            for metric in self._further():
                if metric.update_called:  # not so for iIoU without instances
                    self.scores["further"] |= _with_vectors(metric.compute())
                    metric.reset()
        return self.scores

    def _further(self) -> list[Metric]:
        return [metric for metric in self.further.values() if isinstance(metric, Metric)]

    def take_rows(self) -> list[dict[str, Array]]:
        """Remove and return the record rows of the images that are finished; see :attr:`keep_rows`."""
        return [self._rows.popleft() for _ in range(len(self._rows))]

    @torch.inference_mode()  # resets under Lightning's inference mode make states that only it may change
    def _update(self, prediction: Tensor, batch: dict[str, Any], *, with_sizes: bool, with_further: bool) -> None:
        mask = batch["mask"].cpu()
        instance_iou, sizes = None, self.sizes if with_sizes else None
        for metric in self._further() if with_further else ():
            if not isinstance(metric, InstanceIoU):
                metric.update(prediction, mask)
            elif "instances" in batch:
                instance_iou = metric
        if not (sizes or instance_iou or self.keep_rows):
            return
        found = batch.get("objects")  # only data modules of this package find them
        for index, true in enumerate(mask.numpy()):
            ids = batch["instances"][index].cpu().numpy() if "instances" in batch else None
            options: dict[str, Any] = {"ignore_index": IGNORE_INDEX, "instances": ids}
            objects = found[index] if found else target_objects(true, len(self.classes), **options)
            image = slice(index, index + 1)
            rows = attribute(prediction[index].numpy(), objects, len(self.classes))
            if sizes:
                sizes.update(prediction[image], mask[image], rows=[rows])
            if instance_iou:
                instance_iou.update([rows])
            if self.keep_rows:
                self._rows.append(record_columns(rows, image=batch["name"][index], class_names=self.classes.names))


def _with_vectors(scores: dict[str, Tensor]) -> dict[str, Any]:
    """The scores with one value per class as vectors: torchmetrics turns a vector of one value into a scalar."""
    return {name: value.reshape(-1) if name in PER_CLASS else value for name, value in scores.items()}
