"""Loading trained models. A checkpoint alone suffices: weights, architecture, classes, normalization and size rule."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segattn.model import SegmentationModel
from segattn.sample import ClassTable, SizeRule

CONTENT = "segattn"
"""The key of a checkpoint under which everything but the weights is kept, as plain data."""


class CheckpointError(ValueError):
    """A file that is no checkpoint of segattn, or not a whole one."""


@dataclass(frozen=True)
class TrainedModel:
    """What a checkpoint holds.

    Attributes:
        model: in evaluation mode.
        classes: of the data set that it was trained on.
        size_rule: how whole images are brought to the model.
        version: of segattn that wrote the checkpoint.
    """

    model: SegmentationModel
    classes: ClassTable
    size_rule: SizeRule
    version: str


def load_model(path: str | Path) -> TrainedModel:
    """Load the model of a checkpoint that ``segattn fit`` wrote. Nothing in the file is executed.

    Args:
        path: a ``.ckpt`` file. Where weights were averaged in training, the averaged ones are loaded.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, or was written by something else.
    """
    path = Path(path)
    checkpoint = _read(path)
    if CONTENT not in checkpoint or "state_dict" not in checkpoint:
        raise CheckpointError(f"{path} was not written by segattn fit: it holds no description of its model.")
    content = checkpoint[CONTENT]
    model = SegmentationModel.from_blueprint(content["model"])
    weights = {
        key.removeprefix("model."): value for key, value in checkpoint["state_dict"].items() if key.startswith("model.")
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"The weights in {path} do not fit its own model: {_one_line(error)}.") from error
    size_rule: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content["size_rule"].items()
    }
    classes = ClassTable.from_json(content["classes"])
    return TrainedModel(model.eval(), classes, SizeRule(**size_rule), content["version"])


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path.absolute()}.")
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is refused: it holds more than weights and plain data, or no checkpoint."
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint: {_one_line(error)}.") from error
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f"{path} is no checkpoint: it holds a {type(checkpoint).__name__}.")
    return checkpoint


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
