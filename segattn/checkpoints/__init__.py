"""Checkpoints: loading and saving trained models, importing foreign ones, starting from any of them."""

from segattn.checkpoints.checkpoint_files import CONTENT, CheckpointError
from segattn.checkpoints.foreign import import_checkpoint
from segattn.checkpoints.initialize import Part, initialize, newly_initialized
from segattn.checkpoints.trained import (
    TrainedModel,
    checkpoint_file,
    describe_model,
    load_model,
    require_resumable,
    save_model,
)

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
    "newly_initialized",
    "require_resumable",
    "save_model",
]
