"""Segmentation models: encoder, attention and head."""

from segattn.models.encoders import EncoderSpec
from segattn.models.model_spec import ModelSpec
from segattn.models.segmentation_model import SegmentationModel

__all__ = ["EncoderSpec", "ModelSpec", "SegmentationModel"]
