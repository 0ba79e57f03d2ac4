"""Checkpoints of training: written whole or not at all, and read without executing anything in them."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from segattn.checkpoints.checkpoint_files import CONTENT, read_checkpoint, weights_of
from segattn.io.atomic_write import atomic_write

_VERSION = "pytorch-lightning_version"


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's reading and writing of checkpoints, for files of this machine.

    A checkpoint is written beside the previous one, brought to the disk, and only then takes its place. Lightning's
    own way builds it in memory first, and moves it from the folder of temporary files, which can be another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: in one sentence, if it cannot be written; what was there before is untouched.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        try:
            with atomic_write(Path(path), durable=True) as draft, draft.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch's writer wraps what the file raises, or is raised beside it
            remedy = "make room or choose another --output, and start again"
            if Path(path).is_file():
                remedy = "the previous one is untouched, so mend this and go on with --ckpt_path last"
            raise OSError(f"The checkpoint {path} cannot be written ({_reason(error)}): {remedy}.") from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint, or a saved model as far as evaluation needs it.

        Raises:
            FileNotFoundError: if there is no such file.
            CheckpointError: if it is damaged, or holds code.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only=True)
        checkpoint = read_checkpoint(Path(path))
        if _VERSION in checkpoint:
            return checkpoint
        weights = {f"model.{key}": value for key, value in weights_of(checkpoint, Path(path)).items()}
        content = {CONTENT: checkpoint[CONTENT]} if CONTENT in checkpoint else {}
        return {_VERSION: version("lightning"), "epoch": 0, "global_step": 0, "state_dict": weights, **content}


def _reason(error: BaseException) -> str:
    """What the operating system said, wherever in the chain of exceptions."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
