"""Scores of predicted label maps: integer counts that images, batches and processes only add."""

from segattn.metrics.boundary import BoundaryIoU
from segattn.metrics.confusion import ConfusionMetric
from segattn.metrics.image_level import ImageLevelIoU
from segattn.metrics.instance_iou import InstanceIoU
from segattn.metrics.object_size import ObjectSizeIoU

__all__ = ["BoundaryIoU", "ConfusionMetric", "ImageLevelIoU", "InstanceIoU", "ObjectSizeIoU"]
