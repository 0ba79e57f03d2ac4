"""Checkpoints: load and save trained models, import those of other repositories, initialize from any of them."""

from segattn.checkpoints.foreign import import_checkpoint
from segattn.checkpoints.initialize import Part, initialize
from segattn.checkpoints.trained import (
    TrainedModel,
    checkpoint_file,
    describe_model,
    load_model,
    require_resumable,
    run_of,
    save_model,
)
from segattn.models.weight_files import CONTENT, CheckpointError

__all__ = [
    "CONTENT",
    "CheckpointError",
    "Part",
    "TrainedModel",
    "checkpoint_file",
    "describe_model",
    "import_checkpoint",
    "initialize",
    "load_model",
    "require_resumable",
    "run_of",
    "save_model",
]
