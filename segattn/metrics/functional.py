"""The pure functions behind the metrics: maps in, integer counts and rows out; scores from summed counts."""

from segattn.metrics.attribution import size_counts
from segattn.metrics.counts import confusion_counts, confusion_scores, size_scores
from segattn.metrics.objects import TargetObjects, target_objects
from segattn.metrics.rows import object_rows

__all__ = [
    "TargetObjects",
    "confusion_counts",
    "confusion_scores",
    "object_rows",
    "size_counts",
    "size_scores",
    "target_objects",
]
