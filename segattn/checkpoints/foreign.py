"""Imports checkpoints of other repositories: maps every weight by name and checks every shape."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from segattn.checkpoints.openmmlab import Recipe, classes_of, recipe_of
from segattn.checkpoints.openmmlab_heads import OPENMMLAB_HEADS
from segattn.checkpoints.repositories import origin_of, repository_of
from segattn.checkpoints.trained import TrainedModel
from segattn.data import ade20k, cityscapes, cocostuff, isaid, isprs, loveda, pascal_context, voc
from segattn.inference.inference_config import InferenceConfig
from segattn.io.error_text import one_line
from segattn.models import ModelSpec, SegmentationModel
from segattn.models.weight_files import CheckpointError, load_weights, read_checkpoint, weights_of
from segattn.sample import ClassTable, SizeRule

Origin = Literal["openmmlab", "danet", "flanet"]

INERT = ("mmengine", "mmcv", "mmseg", "numpy", "builtins.getattr")
"""Packages and names of objects in training checkpoints, such as logs, that are replaced by stand-ins."""

_DATA_SETS = (
    ("Cityscapes", cityscapes.CLASSES, SizeRule()),
    ("ADE20K", ade20k.CLASSES, ade20k.TEST_SIZE),
    ("Pascal VOC", voc.CLASSES, ade20k.TEST_SIZE),
    ("Pascal Context", pascal_context.read_scheme("context60").classes, SizeRule(520, 520)),
    ("Pascal Context", pascal_context.read_scheme("context59").classes, SizeRule(520, 520)),
    ("COCO-Stuff", cocostuff.CLASSES, ade20k.TEST_SIZE),
    ("iSAID", isaid.CLASSES, SizeRule()),
    ("LoveDA", loveda.CLASSES, SizeRule()),
    ("ISPRS", isprs.CLASSES, SizeRule()),
)
"""Data sets with their classes and the size at which OpenMMLab evaluates them."""

_FEW = 16
"""A data set is not recognized by this or a smaller number of classes alone."""

_BUFFERS = r"ema_[^.]+$|data_preprocessor\."
"""Names of weights that OpenMMLab's hooks and wrappers store beside those of the model."""

_ASSUMPTIONS = {
    "openmmlab": "The file contains no readable config: assuming the dilations of ResNetV1c-D8 and align_corners false "
    "(checkpoints of the 769x769 configs need --align-corners).",
    "danet": "The file does not contain the dilations: assuming the defaults of the code (the released DANet101 needs "
    "--multi-dilation 4 8 16).",
    "flanet": "The released code mixes up the encodings of the images in a batch; segattn does not, so logits agree "
    "for single images only.",
}


def import_checkpoint(
    path: str | Path,
    origin: Origin,
    *,
    classes: ClassTable | None = None,
    align_corners: bool | None = None,
    multi_dilation: Sequence[int] | None = None,
    say: Callable[[str], object] = lambda sentence: None,
) -> TrainedModel:
    """Load a checkpoint of another repository as a model of segattn with the same logits.

    Args:
        path: the file. Nothing in it is executed.
        origin: ``openmmlab`` (mmsegmentation), ``danet`` or ``flanet`` (the repositories of the authors).
        classes: the class table; None uses the one in the file, else that of the data set with this number of classes:
            Cityscapes (19), ADE20K (150), Pascal VOC (21), Pascal Context (60 or 59), COCO-Stuff (171).
        align_corners: how OpenMMLab's config resizes logits; None uses the config in the file, else false.
        multi_dilation: dilations of the last stage's blocks, if the authors' DANet was trained with the option of this
            name; the released DANet101 was, with 4 8 16.
        say: called with a sentence about every assumption and about weights that are left out.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, from elsewhere, or a weight is missing, unknown or of another shape.
        ValueError: if an argument has no effect for this origin.

    Examples:
        >>> from segattn.checkpoints import import_checkpoint, save_model
        >>> trained = import_checkpoint("danet_r50-d8_40k_cityscapes.pth", "openmmlab", say=print)  # doctest: +SKIP
        >>> save_model(trained, "danet.safetensors")  # doctest: +SKIP
    """
    if align_corners is not None and origin != "openmmlab":
        raise ValueError(f"align_corners is fixed in the code of {origin}: omit it.")
    if multi_dilation and origin != "danet":
        raise ValueError(f"multi_dilation is an option of danet, not of {origin}: omit it.")
    path = Path(path)
    checkpoint = read_checkpoint(path, inert=INERT)
    weights = weights_of(checkpoint, path)
    found = origin_of(weights)
    if found != origin:
        hint = f"use --from {found}" if found else f"its first weight is {next(iter(weights))}"
        raise CheckpointError(f"{path} is not a checkpoint of {origin}: {hint}.")
    meta = checkpoint.get("meta")
    try:
        return _rebuilt(
            weights,
            meta if isinstance(meta, Mapping) else {},
            origin,
            classes=classes,
            align_corners=align_corners,
            multi_dilation=multi_dilation,
            say=say,
        )
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be imported: {one_line(error)}.") from error
    except (TypeError, KeyError, AttributeError) as error:  # the config in the file can be anything
        raise CheckpointError(
            f"{path} cannot be imported: unknown structure of its config ({one_line(error)})."
        ) from error


def _rebuilt(
    weights: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    origin: Origin,
    *,
    classes: ClassTable | None,
    align_corners: bool | None,
    multi_dilation: Sequence[int] | None,
    say: Callable[[str], object],
) -> TrainedModel:
    """The model with the weights of the file."""
    repository = repository_of(weights)
    assert repository is not None, "the origin is known"
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    needed = (
        repository.classifier,
        *repository.widths.values(),
        *repository.lengths.values(),
        *repository.reductions.values(),
    )
    missing = [name for name in needed if not shapes.get(name)]
    if missing:
        supported = f" (supported heads: {', '.join(OPENMMLAB_HEADS)})" if origin == "openmmlab" else ""
        raise ValueError(f"it lacks {', '.join(missing)}{supported}")
    encoder = repository.encoder(shapes)
    head_type = next((name for name, known in OPENMMLAB_HEADS.items() if known is repository), None)
    found = recipe_of(meta, encoder, head_type) if head_type else None
    recipe = found or Recipe(encoder, repository.align_corners)
    if not (found or multi_dilation or align_corners is not None):
        say(_ASSUMPTIONS[origin])
    if multi_dilation:
        recipe = replace(recipe, encoder=replace(encoder, dilations={"layer4": list(multi_dilation)}))
    if align_corners is not None:
        recipe = replace(recipe, align_corners=align_corners)
    classes, rule, source = class_table(shapes[repository.classifier][0], meta, classes)
    spec = ModelSpec(
        num_classes=len(classes),
        encoder=recipe.encoder,
        head=repository.head(shapes, {**recipe.head, "align_corners": recipe.align_corners}),
        align_corners=recipe.align_corners,
        pad_to_stride=False,
    )
    model = SegmentationModel(spec)
    left_out = [name for name in weights if re.match(f"{repository.left_out}|{_BUFFERS}", name)]
    load_weights(model, repository.renamed({name: value for name, value in weights.items() if name not in left_out}))
    say(f"Classes: {source}.")
    say(f"Imported {len(weights) - len(left_out)} of {len(weights)} weights.")
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        say(f"Left out because segmentation does not need them: {', '.join(left_out[:3])}{more}.")
    return TrainedModel(model.eval(), classes, replace(recipe.inference or InferenceConfig(), size_rule=rule))


def class_table(count: int, meta: Mapping[str, Any], given: ClassTable | None) -> tuple[ClassTable, SizeRule, str]:
    """The classes, the size at which their data set is evaluated, and where the classes come from."""
    if given is not None:
        if len(given) != count:
            raise ValueError(f"the given table has {len(given)} classes, but the checkpoint {count}")
        return given, SizeRule(), "as given"
    table = classes_of(meta)
    for name, classes, rule in _DATA_SETS:
        if len(classes) == count and (count > _FEW if table is None else _same_names(table, classes)):
            return classes, rule, f"those of {name}, by their number" if table is None else f"those of {name}"
    if table is None or len(table) != count:
        names = "without names" if table is None else f"but {len(table)} names"
        raise ValueError(f"it has {count} classes {names}: specify them with --classes FILE.yaml")
    return table, SizeRule(), "from the file, with their indices as label ids"


def _same_names(table: ClassTable, known: ClassTable) -> bool:
    """Whether two tables have the same classes; published lists of the same classes differ in spelling and synonyms."""
    if len(table) != len(known):
        return False
    pairs = [[name.lower().replace("_", " ") for name in pair] for pair in zip(table.names, known.names, strict=True)]
    return sum(name in [own, *(part.strip() for part in own.split(","))] for name, own in pairs) >= 0.8 * len(known)
