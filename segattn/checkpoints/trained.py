"""A trained model and its file, which holds weights, architecture, classes, normalization and inference config."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.constants import CONFIG_NAME, SAFETENSORS_SINGLE_FILE
from packaging.version import InvalidVersion, Version
from safetensors.torch import save_file
from torch import Tensor

from segattn import __version__
from segattn.checkpoints.repositories import origin_of
from segattn.inference.inference_config import InferenceConfig
from segattn.io.atomic_write import atomic_write
from segattn.io.error_text import one_line
from segattn.models import ModelSpec, SegmentationModel
from segattn.models.weight_files import CONTENT, CheckpointError, load_weights, read_checkpoint, weights_of
from segattn.sample import ClassTable

_MODEL_CARD = """---
{{ card_data }}
---

A semantic segmentation model of segattn: `segattn predict --checkpoint FOLDER --images DIR --output DIR` predicts with
it, and `segattn.checkpoints.load_model(FOLDER)` loads it. `config.json` describes classes, inference and architecture.
"""
_TASK = "image-segmentation"


@dataclass(eq=False)
class TrainedModel(
    ModelHubMixin, library_name="segattn", tags=[_TASK], pipeline_tag=_TASK, model_card_template=_MODEL_CARD
):
    """The content of a checkpoint.

    ``save_pretrained``, ``from_pretrained`` and ``push_to_hub`` of huggingface_hub write, read and upload a folder in
    the layout of the Hugging Face hub.

    Attributes:
        model: the model, in evaluation mode.
        classes: classes of the data set that it was trained on.
        inference: how the model is applied to an image.
        version: version of segattn that wrote the checkpoint.

    Examples:
        >>> from segattn.checkpoints import TrainedModel, load_model
        >>> load_model("best.ckpt").save_pretrained("folder")
        >>> TrainedModel.from_pretrained("folder").classes.names
        ('background', 'disk', 'ring', 'square', 'bar', 'triangle', 'cross')
    """

    model: SegmentationModel
    classes: ClassTable
    inference: InferenceConfig
    version: str = __version__

    def logits(self, images: Tensor) -> Tensor:
        """Logits (b, k, h, w) of images (b, c, h, w), RGB in 0..1, in one pass, for :func:`segattn.inference.infer`."""
        output: Tensor = self.model(images).logits
        return output

    def _save_pretrained(self, save_directory: Path) -> None:
        """Called by ``save_pretrained``."""
        content = {"library_name": "segattn", CONTENT: describe_model(self.model, self.classes, self.inference)}
        save_model(self, save_directory / SAFETENSORS_SINGLE_FILE)
        with atomic_write(save_directory / CONFIG_NAME, durable=True) as draft:
            draft.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> "TrainedModel":
        """Read a folder written by ``save_pretrained``, or download a model from the hub.

        Args:
            pretrained_model_name_or_path: the folder, or the name of the model on the hub.
            options: ``revision``, ``token``, ``cache_dir``, ``force_download``, ``local_files_only``.

        Raises:
            FileNotFoundError: if there is no such folder.
            CheckpointError: if the file of weights in it is damaged.
        """
        folder = Path(pretrained_model_name_or_path)
        if folder.is_dir():
            return load_model(folder)
        if folder.is_absolute() or len(folder.parts) > 2 or str(pretrained_model_name_or_path).startswith("."):
            raise FileNotFoundError(f"There is no folder {folder.absolute()}.")
        files = [CONFIG_NAME, SAFETENSORS_SINGLE_FILE]
        return load_model(snapshot_download(str(pretrained_model_name_or_path), allow_patterns=files, **options))


def describe_model(model: SegmentationModel, classes: ClassTable, inference: InferenceConfig) -> dict[str, Any]:
    """The content of a checkpoint besides the weights, as plain data.

    Examples:
        >>> from segattn.checkpoints import describe_model, load_model
        >>> trained = load_model("best.ckpt")
        >>> sorted(describe_model(trained.model, trained.classes, trained.inference))
        ['classes', 'inference', 'model', 'version']
    """
    return {
        "version": __version__,
        "classes": classes.to_dicts(),
        "inference": asdict(inference),
        "model": model.spec.to_dict(),
    }


def load_model(path: str | Path) -> TrainedModel:
    """Load a trained model. Nothing in its files is executed.

    Args:
        path: a ``.ckpt`` file of ``segattn fit``, a ``.safetensors`` file, the folder of a run (its best checkpoint),
            or a folder written by ``save_pretrained``. If training averaged the weights, the averaged ones are loaded.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, from a newer version, or not from segattn.

    Examples:
        >>> import torch
        >>> from segattn.checkpoints import load_model
        >>> trained = load_model("best.ckpt")
        >>> trained.model(torch.rand(1, 3, 60, 90)).logits.shape
        torch.Size([1, 7, 60, 90])
        >>> trained.classes.names
        ('background', 'disk', 'ring', 'square', 'bar', 'triangle', 'cross')
    """
    path = checkpoint_file(Path(path))
    checkpoint = read_checkpoint(path)
    weights = weights_of(checkpoint, path)
    if CONTENT not in checkpoint:
        origin = origin_of(weights)
        remedy = f"convert it with segattn import --from {origin}" if origin else "it does not describe its model"
        raise CheckpointError(f"{path} was not written by segattn: {remedy}.")
    trained = _described(checkpoint[CONTENT], path)
    _fill(trained.model, own_weights(weights), path)
    return trained


def save_model(trained: TrainedModel, path: str | Path) -> Path:
    """Write a trained model as one file, without the state of the training.

    Args:
        trained: the model with its classes and inference config.
        path: ends in ``.safetensors``, or in ``.ckpt`` for a file of ``torch.save``. It is written atomically.

    Raises:
        ValueError: if the path has another ending.
        OSError: if it cannot be written.

    Examples:
        >>> from segattn.checkpoints import load_model, save_model
        >>> save_model(load_model("best.ckpt"), "slim.safetensors").name
        'slim.safetensors'
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".ckpt"):
        raise ValueError(
            f"A model is saved as .safetensors or .ckpt, or as a folder with save_pretrained; got {str(path)!r}."
        )
    content = describe_model(trained.model, trained.classes, trained.inference)
    weights = {key: value.detach().cpu().contiguous() for key, value in trained.model.state_dict().items()}
    with atomic_write(path, durable=True) as draft:
        if path.suffix == ".ckpt":
            torch.save({"state_dict": weights, CONTENT: content}, draft)
        else:
            draft.touch()
            mode = draft.stat().st_mode
            save_file(weights, draft, {"format": "pt", CONTENT: json.dumps(content)})
            draft.chmod(mode)  # safetensors makes the file readable by its owner only
    return path


def checkpoint_file(path: Path, which: Literal["best", "last"] = "best") -> Path:
    """The file itself, or the best or last checkpoint in a folder; for the best one also a file of weights.

    Of the folder of all versions of a run (``runs/NAME``), the newest version with such a checkpoint is chosen.

    Raises:
        FileNotFoundError: if there is none.

    Examples:
        >>> from pathlib import Path
        >>> from segattn.checkpoints import checkpoint_file
        >>> checkpoint_file(Path("runs/quickstart")).as_posix()
        'runs/quickstart/version_0/checkpoints/best.ckpt'
    """
    if path.is_file():
        return path
    names = [f"checkpoints/{which}.ckpt", f"{which}.ckpt", *([SAFETENSORS_SINGLE_FILE] if which == "best" else [])]
    versions = [folder for folder in path.glob("version_*") if folder.name[8:].isdigit()]
    newest_first = sorted(versions, key=lambda folder: int(folder.name[8:]), reverse=True)
    for folder in (path, *newest_first):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    what = f"in the folder {path.absolute()}: none of" if path.is_dir() else f"{path.absolute()}, and no folder with"
    raise FileNotFoundError(f"There is no checkpoint {what} {', '.join(names)}.")


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to, or else the folder of the file.

    Examples:
        >>> from pathlib import Path
        >>> from segattn.checkpoints import run_of
        >>> run_of(Path("runs/quickstart/version_0/checkpoints/best.ckpt")).name
        'version_0'
    """
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


def own_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the model by its own names; Lightning's checkpoints prefix them with ``model.``."""
    prefix = "model." if any(key.startswith("model.encoder.") for key in weights) else ""
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def require_resumable(path: str | Path) -> None:
    """Check that a training can be resumed from a checkpoint; raise a ``CheckpointError`` otherwise.

    Examples:
        >>> from segattn.checkpoints import CheckpointError, load_model, require_resumable, save_model
        >>> try:
        ...     require_resumable(save_model(load_model("best.ckpt"), "slim.safetensors"))
        ... except CheckpointError as error:
        ...     print(error)
        slim.safetensors holds a model without the state of its training: start from it with --model.init_from.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    weights_of(checkpoint, path)
    if not {"pytorch-lightning_version", "loops", "optimizer_states"} <= checkpoint.keys():
        raise CheckpointError(
            f"{path} holds a model without the state of its training: start from it with --model.init_from."
        )
    if CONTENT not in checkpoint:
        raise CheckpointError(f"{path} was not written by segattn: start from it with --model.init_from.")
    read_description(checkpoint[CONTENT], path)


def read_description(content: Any, path: Path) -> tuple[ClassTable, InferenceConfig, str]:
    """The classes, the inference config and the version of segattn in the description of a model.

    Raises:
        CheckpointError: if it is damaged or from a newer version.
    """
    try:
        version = str(content["version"])
        newer = Version(version) > Version(__version__)
    except (KeyError, TypeError, InvalidVersion) as error:
        raise CheckpointError(f"{path} is damaged: the version that wrote it is missing.") from error
    if newer:
        raise CheckpointError(f"{path} was written by segattn {version}, but this is {__version__}: update segattn.")
    try:
        return ClassTable.from_dicts(content["classes"]), InferenceConfig.from_dict(content["inference"]), version
    except Exception as error:  # the content of a damaged file can be anything
        raise _unusable(error, path) from error


def _unusable(error: Exception, path: Path) -> CheckpointError:
    reason = shorten(one_line(error), 300, placeholder=" ...")
    what = f"has no {reason}" if isinstance(error, KeyError) else reason
    return CheckpointError(f"The description of the model in {path} cannot be used: {what}.")


def _described(content: Any, path: Path) -> TrainedModel:
    """The described model, with random weights."""
    classes, inference, version = read_description(content, path)
    try:
        spec = ModelSpec.from_dict(content["model"])
        if spec.num_classes != len(classes):
            raise ValueError(f"its table has {len(classes)} classes, but its model {spec.num_classes}")
        model = SegmentationModel(replace(spec, encoder=spec.encoder.resolved()))  # nothing is downloaded
    except Exception as error:  # constructors get the arguments of a damaged file
        raise _unusable(error, path) from error
    return TrainedModel(model.eval(), classes, inference, version)


def _fill(model: SegmentationModel, weights: Mapping[str, Tensor], path: Path) -> None:
    for key, value in model.state_dict().items():
        given = weights.get(key, value)
        if value.is_floating_point() and not (given.is_floating_point() and given.isfinite().all()):
            raise CheckpointError(
                f"The weights in {path} cannot be used: {key} contains values that are not finite numbers."
            )
    try:
        load_weights(model, weights)
    except ValueError as error:
        raise CheckpointError(f"The weights in {path} do not match its model: {error}.") from error
