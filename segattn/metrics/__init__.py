"""Scores of predicted label maps: integer counts that images, batches and processes only add."""

from segattn.metrics.confusion import ConfusionMetric
from segattn.metrics.object_size import ObjectSizeIoU

__all__ = ["ConfusionMetric", "ObjectSizeIoU"]
