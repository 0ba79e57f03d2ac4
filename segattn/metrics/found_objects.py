"""Objects found and false alarms, by class and size; the definition is in ``docs/object_size.md``."""

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64
from torch import Tensor

from segattn.metrics.attribution import Attribution
from segattn.objects.found import is_false_alarm, is_found
from segattn.objects.ground_truth import Array

FOUND_MEANS = ("found", "found_precision", "found_f1", "false_alarms")
"""Scores of :func:`found_scores`."""


def found_counts(rows: Attribution, edges: Array, num_classes: int) -> npt.NDArray[np.int64]:
    """Count the objects found and the false alarms of one image by class and size.

    Args:
        rows: attribution of the image, from :func:`segattn.metrics.functional.attribute`.
        edges: ascending areas in pixels; bin i holds edges[i - 1] <= size < edges[i].
        num_classes: number of classes.

    Returns:
        Counts [classes, len(edges) + 1, 2]: objects found, false alarms.

    Examples:
        >>> import numpy as np
        >>> from segattn.metrics.functional import attribute, found_counts, target_objects
        >>> prediction = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
        >>> target = np.array([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> rows = attribute(prediction, target_objects(target, 2), 2)
        >>> found_counts(rows, np.array([4]), 2)[..., 0]
        array([[0, 1],
               [1, 0]])
    """
    bins = len(edges) + 1
    cell = rows.class_id * bins + np.searchsorted(edges, rows.size, side="right")
    chosen = (is_found(rows.tp, rows.size), is_false_alarm(rows.tp, rows.fp, rows.size))
    counts = np.stack([np.bincount(cell[which], minlength=num_classes * bins) for which in chosen], axis=-1)
    return counts.reshape(num_classes, bins, 2)


def found_scores(
    counts: Int64[Tensor, "k b 2"], objects: Int64[Tensor, "k b"], images: Int64[Tensor, ""], min_objects: int = 1
) -> dict[str, Tensor]:
    """Scores of objects found per class and size bin from summed counts.

    Args:
        counts: objects found and false alarms per class and bin.
        objects: ground-truth objects per class and bin.
        images: number of images.
        min_objects: ground-truth objects that a class needs in a bin to enter the means of the bin.

    Returns:
        Means over the classes with enough objects, shape (b,), nan if there are none: ``found`` (share of the objects),
        ``found_precision`` (found / (found + false alarms), without the classes that have neither) and ``found_f1``;
        ``false_alarms`` (b,), of all classes per image.

    Examples:
        >>> import torch
        >>> from segattn.metrics.functional import found_scores
        >>> counts, objects = torch.tensor([[[6, 2], [9, 0]]]), torch.tensor([[8, 10]])
        >>> scores = found_scores(counts, objects, images=torch.tensor(4))
        >>> scores["found"].tolist(), scores["false_alarms"].tolist()
        ([0.75, 0.9], [0.5, 0.0])
    """
    found, alarms = counts.unbind(-1)
    share, precision = found.double() / objects, found.double() / (found + alarms)
    f1 = 2 * found.double() / (objects + found + alarms)
    supported = objects >= min_objects
    means = {"found": share, "found_precision": precision, "found_f1": f1}
    return {
        **{key: values.where(supported, torch.nan).nanmean(0) for key, values in means.items()},
        "false_alarms": alarms.sum(0).double() / images,
    }


def with_total(counts: Int64[Tensor, "k b n"]) -> Int64[Tensor, "k b1 n"]:
    """Counts with the sum over all bins in front of the bins."""
    return torch.cat([counts.sum(1, keepdim=True), counts], dim=1)
