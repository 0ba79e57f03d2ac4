"""The pure functions behind the metrics: maps in, integer counts and rows out; scores from summed counts."""

from segattn.metrics.attribution import attribute, size_counts
from segattn.metrics.boundary import boundary_counts, boundary_width
from segattn.metrics.confusion import confusion_counts, confusion_scores
from segattn.metrics.found_objects import found_counts, found_scores
from segattn.metrics.image_level import image_counts, image_scores
from segattn.metrics.instance_iou import instance_parts
from segattn.metrics.object_size import size_scores
from segattn.metrics.record_columns import object_rows, record_columns
from segattn.objects import target_objects

__all__ = [
    "attribute",
    "boundary_counts",
    "boundary_width",
    "confusion_counts",
    "confusion_scores",
    "found_counts",
    "found_scores",
    "image_counts",
    "image_scores",
    "instance_parts",
    "object_rows",
    "record_columns",
    "size_counts",
    "size_scores",
    "target_objects",
]
