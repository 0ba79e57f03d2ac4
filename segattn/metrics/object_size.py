"""IoU per object size as a metric: what sizes of objects a model gets right.

The definition is in ``docs/object_size.md``. Feed it whole validation or test images at annotation resolution, never
crops and never a resized ground truth.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64, Integer
from torch import Tensor
from torchmetrics import Metric

from segattn.metrics.functional import TargetObjects, size_counts, size_scores, target_objects
from segattn.objects.size_bins import COCO_EDGES, bucket_cuts, check_edges, fine_edges, pixel_edges


class ObjectSizeIoU(Metric):
    """Counts split by the size of the object that each pixel belongs to, exactly and additively.

    The buckets are exact sums of the fine bins: the user's edges are added to the fine ones.

    Args:
        num_classes: number of classes.
        ignore_index: target value of the pixels that do not count.
        edges: ascending areas between the buckets, half open: a size equal to an edge lies above it. Pixels, or
            fractions of the image's area if ``relative``.
        relative: whether the edges are relative to the image's area.
        names: one name per bucket, ascending; they end the keys of the scores.
        min_objects: ground-truth objects that a class needs in a bucket to enter the bucket's means.
        things: indices of the thing-like classes; the scores are also averaged over them alone. Empty leaves that out.

    Attributes:
        counts: int64 [classes, fine bins, 4]: true positives, false positives, false negatives, ground-truth objects.

    Raises:
        ValueError: if an argument is out of range, or names and edges do not fit together.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    counts: Int64[Tensor, "k bins 4"]

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_index: int = 255,
        edges: Sequence[int | float] = COCO_EDGES,
        relative: bool = False,
        names: Sequence[str] = ("small", "medium", "large"),
        min_objects: int = 1,
        things: Sequence[int] = (),
    ) -> None:
        super().__init__()
        check_edges(edges, names, relative=relative)
        if num_classes < 1 or min_objects < 1:
            raise ValueError(f"num_classes and min_objects must be at least 1, got {num_classes} and {min_objects}.")
        if any(not 0 <= thing < num_classes for thing in things):
            raise ValueError(f"things must be class indices 0 to {num_classes - 1}, got {list(things)}.")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.edges = tuple(edges)
        self.relative = relative
        self.names = tuple(names)
        self.min_objects = min_objects
        self.things = tuple(things)
        self.fine_edges = fine_edges(edges, relative=relative)
        empty = torch.zeros(num_classes, len(self.fine_edges) + 1, 4, dtype=torch.int64)
        self.add_state("counts", empty, dist_reduce_fx="sum")

    def update(
        self,
        prediction: Integer[Tensor, "b h w"],
        target: Integer[Tensor, "_ _ _"],
        instances: Integer[Tensor, "_ _ _"] | None = None,
        *,
        objects: Sequence[TargetObjects] | None = None,
    ) -> None:
        """Add a batch of label maps.

        Args:
            prediction: class indices; any value where the target is ignored.
            target: class indices or ``ignore_index``.
            instances: instance ids, where the data set has them; see :func:`functional.target_objects`.
            objects: :meth:`target_objects` of every image, where the data loader has made them. They replace the work
                on ``target`` and ``instances``.

        Raises:
            ValueError: if shapes differ or a pixel that counts holds a class out of range.
        """
        if prediction.shape != target.shape or prediction.ndim != 3:
            shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
            raise ValueError(f"Prediction and target must have one shape (images, height, width), got {shapes}.")
        if objects is None:
            owners = [None] * len(target) if instances is None else list(instances.cpu().numpy())
            maps = zip(target.cpu().numpy(), owners, strict=True)
            objects = [self.target_objects(labels, instances=owner) for labels, owner in maps]
        edges = self.pixel_edges(*prediction.shape[1:])
        images = zip(prediction.cpu().numpy(), objects, strict=True)
        counts = sum(size_counts(labels, found, edges, self.num_classes) for labels, found in images)
        self.counts += torch.as_tensor(counts, device=self.counts.device)

    def target_objects(self, target: npt.NDArray[Any], *, instances: npt.NDArray[Any] | None = None) -> TargetObjects:
        """The half of an update that needs one ground truth alone; it can be done where the data is loaded."""
        return target_objects(target, self.num_classes, ignore_index=self.ignore_index, instances=instances)

    def pixel_edges(self, height: int, width: int) -> npt.NDArray[np.int64]:
        """The fine edges for an image of this size: the smallest areas in pixels that lie above each edge."""
        return pixel_edges(self.fine_edges, height, width, relative=self.relative)

    def bucket_counts(self) -> Int64[Tensor, "k buckets 4"]:
        """The counts summed over the fine bins of every bucket."""
        cuts = bucket_cuts(self.edges, relative=self.relative)
        return torch.stack([self.counts[:, low:high].sum(1) for low, high in pairwise(cuts)], dim=1)

    def compute(self) -> dict[str, Tensor]:
        """All scores of the summed counts.

        Returns:
            Scalars for every bucket ``b`` and, with the suffix ``_things``, over the thing-like classes alone:
            ``miou_b``, ``mrecall_b`` (nan if no class has ``min_objects`` objects there), ``classes_b`` (classes in the
            means) and ``objects_b`` (their ground-truth objects). With things also ``miou_things`` and
            ``mean_accuracy_things`` over all sizes, where absent classes are treated as in
            :func:`functional.confusion_scores`.
            Tables [classes, buckets]: ``iou``, ``recall``, ``objects``.
            The curve over the fine bins [bins]: ``curve_miou``, ``curve_mrecall``, ``curve_classes``,
            ``curve_objects``.
        """
        buckets = self.bucket_counts()
        scores = size_scores(buckets, self.min_objects)
        result = self._named(scores)
        if self.things:
            things = list(self.things)
            result |= self._named(size_scores(buckets[things], self.min_objects), suffix="_things")
            tp, fp, fn, _ = buckets[things].sum(1).double().unbind(-1)
            result |= {
                "miou_things": (tp / (tp + fp + fn)).nanmean(),
                "mean_accuracy_things": (tp / (tp + fn)).nanmean(),
            }
        curve = size_scores(self.counts, self.min_objects)
        result |= {f"curve_{key}": curve[key] for key in ("miou", "mrecall", "classes", "objects")}
        return result | {"iou": scores["iou"], "recall": scores["recall"], "objects": buckets[..., 3]}

    def _named(self, scores: dict[str, Tensor], suffix: str = "") -> dict[str, Tensor]:
        keys = ("miou", "mrecall", "classes", "objects")
        return {f"{key}_{name}{suffix}": scores[key][b] for key in keys for b, name in enumerate(self.names)}
