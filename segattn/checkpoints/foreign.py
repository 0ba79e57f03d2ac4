"""Import of checkpoints of other repositories: every weight is mapped by name, and every shape is checked."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from segattn.checkpoints.checkpoint_files import CheckpointError, origin_of, read_checkpoint, weights_of
from segattn.checkpoints.openmmlab import Recipe, classes_of, recipe_of
from segattn.checkpoints.repositories import REPOSITORIES, Repository
from segattn.checkpoints.trained import TrainedModel
from segattn.data import ade20k, ade20k_classes, cityscapes
from segattn.inference.inference_config import InferenceConfig
from segattn.io.error_text import one_line
from segattn.models.segmentation_model import SegmentationModel
from segattn.sample import ClassTable, SizeRule

Origin = Literal["openmmlab", "danet", "flanet"]

INERT = ("mmengine", "mmcv", "mmseg", "numpy", "builtins.getattr")
"""What training checkpoints hold beside the weights (logs and their methods); it is not wanted and not made."""

_UNTOLD = {
    "openmmlab": "The file holds no config that can be read: the dilations of ResNetV1c-D8 are assumed, and "
    "align_corners false (checkpoints of the 769x769 configs need --align-corners).",
    "danet": "Weights do not tell dilations: those of the code's defaults are assumed (the released DANet101 needs "
    "--multi-dilation 4 8 16).",
    "flanet": "The released code pairs the images of a batch with each other's encodings; here every image has its "
    "own, so that only the logits of single images are the same.",
}


@dataclass(frozen=True)
class _Wishes:
    """What the user knows better than the file; see :func:`import_checkpoint`."""

    classes: ClassTable | None
    align_corners: bool | None
    multi_dilation: tuple[int, ...] | None


def import_checkpoint(
    path: str | Path,
    origin: Origin,
    *,
    classes: ClassTable | None = None,
    align_corners: bool | None = None,
    multi_dilation: Sequence[int] | None = None,
    say: Callable[[str], object] = lambda sentence: None,
) -> TrainedModel:
    """Load a checkpoint of another repository as a model of this one, with the same logits.

    Args:
        path: the file. Nothing in it is executed.
        origin: ``openmmlab`` (mmsegmentation's DANet), ``danet`` (its authors' repository) or ``flanet`` (likewise).
        classes: the class table; None takes that in the file, else Cityscapes for 19 and ADE20K for 150 classes.
        align_corners: how OpenMMLab's config resizes logits; None takes the config in the file, else false.
        multi_dilation: dilations of the last stage's blocks, where the authors' DANet was trained with the option of
            this name; its released DANet101 was, with 4 8 16.
        say: called with a sentence on everything that the file does not tell and on what is left out.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, from elsewhere, or a weight is missing, unknown or of another shape.
        ValueError: if an argument has no effect for this origin.
    """
    if align_corners is not None and origin != "openmmlab":
        raise ValueError(f"align_corners is fixed in the code of {origin}; leave it out.")
    if multi_dilation and origin != "danet":
        raise ValueError(f"multi_dilation is an option of danet, not of {origin}; leave it out.")
    path = Path(path)
    checkpoint = read_checkpoint(path, inert=INERT)
    weights = weights_of(checkpoint, path)
    found = origin_of(list(weights))
    if found != origin:
        hint = f"take --from {found}" if found else f"its first weight is {next(iter(weights))}"
        raise CheckpointError(f"{path} is no checkpoint of {origin}: {hint}.")
    wishes = _Wishes(classes, align_corners, tuple(multi_dilation) if multi_dilation else None)
    meta = checkpoint.get("meta")
    try:
        trained, notes = _rebuilt(weights, meta if isinstance(meta, Mapping) else {}, origin, wishes)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be imported: {one_line(error)}.") from error
    except (TypeError, KeyError, AttributeError) as error:  # the file's own description may be anything
        raise CheckpointError(f"{path} cannot be imported: its config has another form ({one_line(error)}).") from error
    for note in notes:
        say(note)
    return trained


def _rebuilt(
    weights: Mapping[str, Tensor], meta: Mapping[str, Any], origin: Origin, wishes: _Wishes
) -> tuple[TrainedModel, list[str]]:
    """The model, and what is to be said about it."""
    repository = REPOSITORIES[origin]
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    missing = [name for name in (repository.classifier, *repository.widths.values()) if not shapes.get(name)]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    encoder = repository.encoder(shapes)
    told = recipe_of(meta, encoder) if origin == "openmmlab" else None
    recipe = told or Recipe(encoder, repository.align_corners)
    notes = [] if told or wishes.multi_dilation or wishes.align_corners is not None else [_UNTOLD[origin]]
    if wishes.multi_dilation:
        recipe = replace(recipe, encoder=replace(encoder, dilations={"layer4": list(wishes.multi_dilation)}))
    if wishes.align_corners is not None:
        recipe = replace(recipe, align_corners=wishes.align_corners)
    classes, rule, source = class_table(shapes[repository.classifier][0], meta, wishes.classes)
    aligned, head = recipe.align_corners, repository.head(shapes)
    model = SegmentationModel(len(classes), recipe.encoder, head, align_corners=aligned, pad_to_stride=False)
    left_out = _fill(model, weights, repository)
    notes += [f"Classes: {source}.", f"Taken: {len(weights) - len(left_out)} of {len(weights)} weights."]
    if left_out:
        notes.append(f"Left out, since segmentation has no use for them: {', '.join(left_out)}.")
    return TrainedModel(model.eval(), classes, recipe.inference or InferenceConfig(rule)), notes


def _fill(model: SegmentationModel, weights: Mapping[str, Tensor], repository: Repository) -> list[str]:
    """Put the weights into the model; the names of those that have no place and need none."""
    own = model.state_dict()
    placed: dict[str, Tensor] = {}
    left_out, unknown = [], []
    for name, value in repository.adapted(weights).items():
        place = repository.own_name(name)
        if re.match(repository.left_out, name):
            left_out.append(name)
        elif place not in own:
            unknown.append(name)
        elif own[place].shape != value.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)} where {tuple(own[place].shape)} is needed")
        else:
            placed[place] = value
    missing = [key for key in own if key not in placed and not key.endswith("num_batches_tracked")]
    if unknown or missing:
        parts = [f"it has no weights for {', '.join(missing)}"] if missing else []
        parts += [f"there is no place for {', '.join(unknown)}"] if unknown else []
        raise ValueError(" and ".join(parts))
    model.load_state_dict(own | placed)
    return left_out


def class_table(count: int, meta: Mapping[str, Any], wished: ClassTable | None) -> tuple[ClassTable, SizeRule, str]:
    """The classes, the size at which their data set is tested, and where they are from."""
    if wished is not None:
        if len(wished) != count:
            raise ValueError(f"the given table has {len(wished)} classes, the checkpoint {count}")
        return wished, SizeRule(), "as given"
    known = {"Cityscapes": (cityscapes.CLASSES, SizeRule()), "ADE20K": (ade20k_classes.CLASSES, ade20k.TEST_SIZE)}
    table = classes_of(meta)
    for name, (classes, rule) in known.items():
        if len(classes) == count and (table is None or _same_names(table, classes)):
            return classes, rule, f"those of {name}, by their number" if table is None else f"those of {name}"
    if table is None or len(table) != count:
        raise ValueError(f"it has {count} classes and does not tell which: name them with --classes FILE.yaml")
    return table, SizeRule(), "from the file, with their indices as label ids"


def _same_names(table: ClassTable, known: ClassTable) -> bool:
    """Whether two tables mean the same; ADE20K's lists differ in how many synonyms they give."""
    pairs = zip(table.names, known.names, strict=True)
    return sum(name in [own, *(part.strip() for part in own.split(","))] for name, own in pairs) >= 0.9 * len(known)
