"""Losses of logits and masks. Pixels of ``IGNORE_INDEX`` are excluded; if a batch has no others, its loss is 0.

A loss can have a method ``for_mask``, which returns the loss of the logits alone, so that work on the mask is shared
by all outputs of a model.

OHEM: Shrivastava et al., CVPR 2016, arXiv 1604.03540, per pixel as in OpenMMLab. Dice and Lovasz-softmax (Berman et
al., CVPR 2018, arXiv 1705.08790) are those of segmentation-models-pytorch.
"""

from collections.abc import Callable, Sequence

import numpy as np
import segmentation_models_pytorch as smp
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from segattn.objects.ground_truth import components
from segattn.sample import IGNORE_INDEX

LossOfLogits = Callable[[Tensor], Tensor]


def for_mask(loss: nn.Module, mask: Int64[Tensor, "b h w"]) -> LossOfLogits:
    """Return the loss as a function of logits (b, k, h, w) for a given mask."""
    prepare: Callable[[Tensor], LossOfLogits] | None = getattr(loss, "for_mask", None)
    return prepare(mask) if prepare else lambda logits: loss(logits, mask)


class CrossEntropy(nn.Module):
    """Cross-entropy averaged over valid pixels; with class weights the average is weighted by them.

    Args:
        class_weights: one weight per class; null for none.
        label_smoothing: share of the probability spread over all classes, 0..1.

    Raises:
        ValueError: if an argument is out of range.
    """

    weight: Tensor | None

    def __init__(self, class_weights: Sequence[float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing must be in 0..1, got {label_smoothing}.")
        self.label_smoothing = label_smoothing
        self.register_buffer("weight", _class_weights(class_weights), persistent=False)

    def forward(self, logits: Float[Tensor, "b k h w"], mask: Int64[Tensor, "b h w"]) -> Tensor:
        """Scalar loss."""
        _check_weights(self.weight, logits)
        total = cross_entropy(
            logits,
            mask,
            self.weight,
            ignore_index=IGNORE_INDEX,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        valid = mask != IGNORE_INDEX
        counted = valid if self.weight is None else self.weight[torch.where(valid, mask, 0)] * valid
        count = counted.sum()
        return total / torch.where(count > 0, count, 1)  # does not wait for the device, unlike `if count`


class ObjectBalancedCrossEntropy(nn.Module):
    """Cross-entropy in which large objects do not outweigh small ones.

    A pixel has the weight ``max(area, min_area) ** -exponent``, and the loss is the weighted average over the valid
    pixels of the batch. ``area`` is the number of pixels of the object that the pixel belongs to: the 8-connected
    component of its class in the mask of the crop, as in IoU by object size. The influence of an object then grows
    with ``area ** (1 - exponent)``.

    Args:
        exponent: 0 is plain cross-entropy; with 1, all objects of at least ``min_area`` pixels have equal influence.
        min_area: area in pixels; smaller objects have the weight of this area, because they are often annotation noise.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, exponent: float = 0.25, min_area: int = 16) -> None:
        super().__init__()
        if not 0 <= exponent <= 1 or min_area < 1:
            raise ValueError(
                f"ObjectBalancedCrossEntropy needs exponent in 0..1 and min_area >= 1, got {exponent} and {min_area}."
            )
        self.exponent = exponent
        self.min_area = min_area

    def pixel_weights(self, mask: Int64[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
        """Weight of every pixel, 0 where the mask is ignored. Objects are found on the CPU."""
        weights = np.empty(mask.shape, dtype=np.float32)
        for index, classes in enumerate(mask.cpu().numpy()):
            shifted = np.where(classes == IGNORE_INDEX, 0, classes + 1).astype(np.uint8)
            objects = components(shifted)
            of_object = np.maximum(np.bincount(objects.ravel()), self.min_area) ** -float(self.exponent)
            of_object[0] = 0
            weights[index] = of_object[objects]
        return torch.from_numpy(weights).to(mask.device)

    def for_mask(self, mask: Int64[Tensor, "b h w"]) -> LossOfLogits:
        """Find the objects once for all logits."""
        weights = self.pixel_weights(mask)
        total = weights.sum()
        total = torch.where(total > 0, total, 1)

        def loss(logits: Tensor) -> Tensor:
            return (cross_entropy(logits, mask, ignore_index=IGNORE_INDEX, reduction="none") * weights).sum() / total

        return loss

    def forward(self, logits: Float[Tensor, "b k h w"], mask: Int64[Tensor, "b h w"]) -> Tensor:
        """Scalar loss."""
        return self.for_mask(mask)(logits)


class OHEM(nn.Module):
    """Cross-entropy of the hard pixels, those whose class is predicted with a probability below ``threshold``.

    Args:
        threshold: probability of the true class below which a pixel is hard, 0..1.
        min_kept: minimum number of pixels per image, taken as the hardest ones of the batch.
        class_weights: one weight per class; null for none.

    Raises:
        ValueError: if an argument is out of range.
    """

    weight: Tensor | None

    def __init__(
        self, threshold: float = 0.7, min_kept: int = 100_000, class_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if not 0 < threshold <= 1 or min_kept < 1:
            raise ValueError(f"OHEM needs threshold in (0, 1] and min_kept >= 1, got {threshold} and {min_kept}.")
        self.threshold = threshold
        self.min_kept = min_kept
        self.register_buffer("weight", _class_weights(class_weights), persistent=False)

    def forward(self, logits: Float[Tensor, "b k h w"], mask: Int64[Tensor, "b h w"]) -> Tensor:
        """Scalar loss."""
        _check_weights(self.weight, logits)
        valid = mask != IGNORE_INDEX
        if not bool(valid.any()):
            return logits.sum() * 0
        losses = cross_entropy(logits, mask, self.weight, ignore_index=IGNORE_INDEX, reduction="none")[valid]
        with torch.no_grad():
            true_class = torch.where(valid, mask, 0).unsqueeze(1)
            probability = logits.softmax(dim=1).gather(1, true_class).squeeze(1)[valid]
            kept = min(self.min_kept * logits.shape[0], probability.numel())
            limit = probability.kthvalue(kept).values.clamp(min=self.threshold)
        return losses[probability <= limit].mean()


class Dice(nn.Module):
    """Soft Dice loss, averaged over the classes present in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE_INDEX)

    def forward(self, logits: Float[Tensor, "b k h w"], mask: Int64[Tensor, "b h w"]) -> Tensor:
        """Scalar loss."""
        present = torch.unique(mask[mask != IGNORE_INDEX]).numel()
        mean: Tensor = self.loss(logits, mask)  # over all classes; an absent class counts 0
        loss: Tensor = mean * (logits.shape[1] / max(1, present))
        return loss


class Lovasz(nn.Module):
    """Lovasz-softmax loss, a surrogate of IoU, averaged over the classes present in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = smp.losses.LovaszLoss("multiclass", ignore_index=IGNORE_INDEX)

    def forward(self, logits: Float[Tensor, "b k h w"], mask: Int64[Tensor, "b h w"]) -> Tensor:
        """Scalar loss."""
        if not bool((mask != IGNORE_INDEX).any()):
            return logits.sum() * 0
        loss: Tensor = self.loss(logits, mask)
        return loss


class WeightedSum(nn.Module):
    """Weighted sum of losses.

    Args:
        losses: the losses.
        weights: one weight per loss.

    Raises:
        ValueError: if there are no losses, or their number differs from that of the weights.
    """

    def __init__(self, losses: list[nn.Module], weights: list[float]) -> None:
        super().__init__()
        if not losses or len(losses) != len(weights):
            raise ValueError(
                f"WeightedSum needs one weight per loss, got {len(losses)} losses, {len(weights)} weights."
            )
        self.losses = nn.ModuleList(losses)
        self.weights = weights

    def for_mask(self, mask: Int64[Tensor, "b h w"]) -> LossOfLogits:
        """Prepare every loss once for all logits."""
        losses = [for_mask(loss, mask) for loss in self.losses]
        return lambda logits: torch.stack(
            [weight * loss(logits) for loss, weight in zip(losses, self.weights, strict=True)]
        ).sum()

    def forward(self, logits: Float[Tensor, "b k h w"], mask: Int64[Tensor, "b h w"]) -> Tensor:
        """Scalar loss."""
        return self.for_mask(mask)(logits)


def _class_weights(weights: Sequence[float] | None) -> Tensor | None:
    if weights is None:
        return None
    if not weights or min(weights) < 0 or max(weights) <= 0:
        raise ValueError(f"class_weights must not be negative, and not all zero, got {list(weights)}.")
    return torch.tensor(weights, dtype=torch.float32)


def _check_weights(weight: Tensor | None, logits: Tensor) -> None:
    if weight is not None and weight.numel() != logits.shape[1]:
        raise ValueError(f"class_weights has {weight.numel()} values, but there are {logits.shape[1]} classes.")
