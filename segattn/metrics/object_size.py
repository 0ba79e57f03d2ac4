"""IoU per object size: the confusion counts split by the size of the object that each pixel counts for.

The definition is in ``docs/object_size.md``. Use it on complete validation or test images at annotation resolution, not
on crops, and never resize the ground truth.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Int64, Integer
from torch import Tensor
from torchmetrics import Metric

from segattn.metrics.attribution import Attribution, attribute, size_counts
from segattn.metrics.found_objects import FOUND_MEANS, found_counts, found_scores, with_total
from segattn.objects.ground_truth import check_same_shape, target_objects
from segattn.objects.size_bins import ObjectSizes, bucket_cuts, fine_edges, pixel_edges

_MEANS = ("miou", "mrecall", "classes", "objects")


def size_scores(counts: Int64[Tensor, "k b 4"], min_objects: int = 1) -> dict[str, Tensor]:
    """Scores per class and size bin from summed counts.

    The classes that enter a mean depend on the ground truth only, never on the prediction.

    Args:
        counts: true positives, false positives, false negatives and ground-truth objects per class and bin.
        min_objects: ground-truth objects that a class needs in a bin to enter the means of the bin.

    Returns:
        ``iou`` and ``recall`` (k, b), nan where nothing was counted; ``miou`` and ``mrecall`` (b,), the means over the
        classes with enough objects, nan if there are none; ``classes`` (b,), the number of these classes; ``objects``
        (b,), the number of their objects.

    Examples:
        >>> import torch
        >>> from segattn.metrics.functional import size_scores
        >>> scores = size_scores(torch.tensor([[[30, 10, 10, 2], [90, 5, 5, 1]]]))
        >>> scores["miou"].tolist(), scores["objects"].tolist()
        ([0.6, 0.9], [2, 1])
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


class ObjectSizeIoU(Metric):
    """Confusion counts split by object size, exactly, and their scores.

    Args:
        num_classes: number of classes.
        sizes: edges and names of the buckets, and how many objects a class needs; ``every`` has no effect here.
        ignore_index: value of ignored pixels in targets.
        things: indices of the thing classes. If not empty, the scores are also averaged over these classes only.

    Attributes:
        counts: int64 [classes, fine bins, 4]: true positives, false positives, false negatives, ground-truth objects.
        found: int64 [classes, fine bins, 2]: objects found, false alarms.
        images: number of images with a pixel that is not ignored.

    Examples:
        >>> import torch
        >>> from segattn.metrics import ObjectSizeIoU
        >>> target = torch.zeros(1, 64, 64, dtype=torch.int64)
        >>> target[:, 10:14, 10:14] = 1  # a small car on a large road
        >>> prediction = target.clone()
        >>> prediction[:, 10:12, 10:14] = 0  # half of it is missed
        >>> metric = ObjectSizeIoU(num_classes=2)
        >>> metric.update(prediction, target)
        >>> scores = metric.compute()
        >>> scores["miou_small"].item(), round(scores["miou_medium"].item(), 3)
        (0.5, 0.998)
    """

    full_state_update = False
    counts: Int64[Tensor, "k bins 4"]
    found: Int64[Tensor, "k bins 2"]
    images: Int64[Tensor, ""]

    def __init__(
        self,
        num_classes: int,
        sizes: ObjectSizes = ObjectSizes(),
        *,
        ignore_index: int = 255,
        things: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if any(not 0 <= thing < num_classes for thing in things):
            raise ValueError(f"things must be class indices 0 to {num_classes - 1}, got {list(things)}.")
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.sizes = sizes
        self.things = tuple(things)
        self.fine_edges = fine_edges(sizes.edges, relative=sizes.relative)
        empty = torch.zeros(num_classes, len(self.fine_edges) + 1, 4, dtype=torch.int64)
        self.add_state("counts", empty, dist_reduce_fx="sum")
        self.add_state("found", empty[..., :2].clone(), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        prediction: Integer[Tensor, "b h w"],
        target: Integer[Tensor, "_ _ _"],
        instances: Integer[Tensor, "_ _ _"] | None = None,
        *,
        rows: Sequence[Attribution] | None = None,
    ) -> None:
        """Add a batch of label maps.

        Args:
            prediction: class indices. Values at ignored pixels have no effect.
            target: class indices or ``ignore_index``.
            instances: instance ids, if the data set has them; see :func:`segattn.objects.target_objects`.
            rows: the attribution of each image, if it has been computed. Replaces the work on the maps.
        """
        check_same_shape(tuple(prediction.shape), tuple(target.shape))
        if rows is None:
            ids = [None] * len(target) if instances is None else list(instances.cpu().numpy())
            maps = zip(target.cpu().numpy(), ids, strict=True)
            options = {"ignore_index": self.ignore_index}
            objects = [target_objects(true, self.num_classes, instances=owners, **options) for true, owners in maps]
            images = zip(prediction.cpu().numpy(), objects, strict=True)
            rows = [attribute(predicted, found, self.num_classes) for predicted, found in images]
        edges = pixel_edges(self.fine_edges, *prediction.shape[1:], relative=self.sizes.relative)
        for state, count in ((self.counts, size_counts), (self.found, found_counts)):
            state += torch.as_tensor(sum(count(image, edges, self.num_classes) for image in rows), device=state.device)
        self.images += sum(len(image.size) > 0 for image in rows)

    def bucket_counts(self) -> Int64[Tensor, "k buckets 4"]:
        """The counts summed over the fine bins of each bucket."""
        return self._buckets(self.counts)

    def _buckets(self, counts: Int64[Tensor, "k bins n"]) -> Int64[Tensor, "k buckets n"]:
        cuts = bucket_cuts(self.sizes.edges, relative=self.sizes.relative)
        return torch.stack([counts[:, low:high].sum(1) for low, high in pairwise(cuts)], dim=1)

    def compute(self) -> dict[str, Tensor]:
        """All scores of the summed counts.

        Returns:
            Scalars for each bucket ``b`` and, with the suffix ``_things``, over the thing classes only: ``miou_b``,
            ``mrecall_b`` (nan if no class has ``min_objects`` objects), ``classes_b`` (number of classes in these
            means), ``objects_b`` (number of their ground-truth objects), and of :func:`found_scores` ``found_b``,
            ``found_precision_b``, ``found_f1_b``, ``false_alarms_b``, also without ``_b`` over all sizes. With things
            also ``miou_things`` and ``mean_accuracy_things`` over all sizes, with absent classes as in
            :func:`functional.confusion_scores`.
            Tables [classes, buckets]: ``iou``, ``recall``, ``objects``. Tables [classes, 1 + buckets], with all sizes
            first: ``found_share`` of the objects, and the number of ``alarms``.
            Curves over the fine bins [bins]: ``curve_miou``, ``curve_mrecall``, ``curve_classes``, ``curve_objects``.
        """
        buckets = self.bucket_counts()
        scores = size_scores(buckets, self.sizes.min_objects)
        found = self._buckets(self.found)
        result = self._named(scores) | self._found(found, buckets)
        if self.things:
            chosen = list(self.things)
            things = buckets[chosen]
            result |= self._named(size_scores(things, self.sizes.min_objects), suffix="_things")
            result |= self._found(found[chosen], things, suffix="_things")
            tp, fp, fn, _ = things.sum(1).double().unbind(-1)
            result["miou_things"] = (tp / (tp + fp + fn)).nanmean()
            result["mean_accuracy_things"] = (tp / (tp + fn)).nanmean()
        curve = size_scores(self.counts, self.sizes.min_objects)
        result |= {f"curve_{key}": curve[key] for key in _MEANS}
        tables = {"iou": scores["iou"], "recall": scores["recall"], "objects": buckets[..., 3]}
        tables["found_share"] = with_total(found)[..., 0].double() / with_total(buckets)[..., 3]
        return result | tables | {"alarms": with_total(found)[..., 1]}

    def _found(
        self, found: Int64[Tensor, "k buckets 2"], buckets: Int64[Tensor, "k buckets 4"], suffix: str = ""
    ) -> dict[str, Tensor]:
        objects = with_total(buckets)[..., 3]
        scores = found_scores(with_total(found), objects, self.images, self.sizes.min_objects)
        sizes = ["", *(f"_{name}" for name in self.sizes.names)]
        return {f"{key}{size}{suffix}": scores[key][b] for key in FOUND_MEANS for b, size in enumerate(sizes)}

    def _named(self, scores: dict[str, Tensor], suffix: str = "") -> dict[str, Tensor]:
        return {f"{key}_{name}{suffix}": scores[key][b] for key in _MEANS for b, name in enumerate(self.sizes.names)}
