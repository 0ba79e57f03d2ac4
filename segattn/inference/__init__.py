"""From images to logits: one path for every command."""

from segattn.inference.image_to_logits import (
    LogitsFunction,
    infer,
    infer_bands,
    infer_labels,
    predicted_classes,
)
from segattn.inference.inference_config import InferenceConfig
from segattn.inference.sliding_window import Area

__all__ = [
    "Area",
    "InferenceConfig",
    "LogitsFunction",
    "infer",
    "infer_bands",
    "infer_labels",
    "predicted_classes",
]
