"""The pure functions behind the metrics: maps in, integer counts and rows out; scores from summed counts."""

from segattn.metrics.attribution import size_counts
from segattn.metrics.boundary import boundary_counts, boundary_width
from segattn.metrics.counts import confusion_counts, confusion_scores, size_scores
from segattn.metrics.image_level import image_counts, image_scores
from segattn.metrics.instance_iou import instance_parts
from segattn.metrics.rows import object_rows
from segattn.objects.target_objects import TargetObjects, target_objects

__all__ = [
    "TargetObjects",
    "boundary_counts",
    "boundary_width",
    "confusion_counts",
    "confusion_scores",
    "image_counts",
    "image_scores",
    "instance_parts",
    "object_rows",
    "size_counts",
    "size_scores",
    "target_objects",
]
