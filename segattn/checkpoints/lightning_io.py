"""Lightning's checkpoints: written atomically, and read without executing anything in them."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from segattn.io.atomic_write import atomic_write
from segattn.io.error_text import one_line
from segattn.models.weight_files import CONTENT, read_checkpoint, weights_of

_VERSION = "pytorch-lightning_version"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file in the same folder, flushes it to the disk, and renames it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint; if that fails, an existing file is left unchanged."""
        try:
            with atomic_write(Path(path), durable=True) as draft, draft.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch's writer can raise a RuntimeError for an OSError of the file
            remedy = "free some space or choose another --output, and start again"
            if Path(path).is_file():
                remedy = "the previous checkpoint is intact, so fix the problem and resume with --ckpt_path last"
            raise OSError(
                f"The checkpoint {path} cannot be written ({one_line(_system_error(error))}): {remedy}."
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a training checkpoint, or a saved model in the form that evaluation needs."""
        checkpoint = read_checkpoint(Path(path))
        if _VERSION in checkpoint:
            return checkpoint
        weights = {f"model.{key}": value for key, value in weights_of(checkpoint, Path(path)).items()}
        content = {CONTENT: checkpoint[CONTENT]} if CONTENT in checkpoint else {}
        return {_VERSION: version("lightning"), "epoch": 0, "global_step": 0, "state_dict": weights, **content}


def _system_error(error: BaseException) -> BaseException:
    """The error of the operating system in a chain of exceptions, or the exception itself."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.strerror):
        cause = cause.__cause__ or cause.__context__
    return cause or error
