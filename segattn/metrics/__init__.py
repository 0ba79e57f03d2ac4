"""Scores of predicted label maps: integer counts that images, batches and processes only add."""

from segattn.metrics.confusion import ConfusionMetric

__all__ = ["ConfusionMetric"]
