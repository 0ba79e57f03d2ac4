"""Initializes a model with the weights of another one: its encoder, or everything that fits."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from segattn.checkpoints.foreign import INERT
from segattn.checkpoints.repositories import repository_of
from segattn.checkpoints.trained import checkpoint_file, own_weights, read_description
from segattn.models import SegmentationModel
from segattn.models.weight_files import CONTENT, CheckpointError, read_checkpoint, weights_of
from segattn.sample import ClassTable

Part = Literal["encoder", "all"]

_BODY = "encoder.body."
_INSERTED = re.compile(r"\.(?:(bn\d)\.0|(conv\d)\.1)\.(\w+)$")
"""Names of a norm or convolution that attention inside residual blocks has moved into a sequence."""


def initialize(model: SegmentationModel, path: str | Path, *, classes: ClassTable, part: Part = "all") -> list[str]:
    """Copy weights whose name and shape match; all others keep their initial values.

    Args:
        model: changed in place.
        path: a segattn checkpoint or its folder, a checkpoint that ``segattn import`` reads, or a file of encoder
            weights. Nothing in it is executed.
        classes: classes of the model. If the file names other classes, the weights of its classifiers are not copied.
        part: ``encoder``, which must match completely, or ``all``.

    Returns:
        A report with one line per part of the model, and one on the weights that were not used.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, or the encoder does not match (with ``all``: if no kernel matches).

    Examples:
        >>> from segattn.checkpoints import initialize, load_model
        >>> from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
        >>> model = SegmentationModel(ModelSpec(19, EncoderSpec("tu-test_resnet", weights=None)))
        >>> report = initialize(model, "best.ckpt", classes=load_model("best.ckpt").classes, part="encoder")
        >>> report[1]
        '  encoder: 90 of 90 weights copied'
    """
    path = checkpoint_file(Path(path))
    given, its_classes = _read(path)
    own = model.state_dict()
    other_classes = its_classes is not None and its_classes.names != classes.names
    classifiers = _classifiers(model) if other_classes else set()
    taken: dict[str, Tensor] = {}
    used: set[str] = set()
    reasons: dict[str, str] = {}
    for key, value in own.items():
        if part == "encoder" and not key.startswith(_BODY):
            continue
        named = (_plain(key), _INSERTED.sub(r".\1\2.\3", _plain(key)))
        source = next((name for name in named if name in given), None)
        if source is None:
            reasons[key] = "not in the file"
        elif given[source].shape != value.shape:
            reasons[key] = f"shape {tuple(given[source].shape)} in the file, {tuple(value.shape)} here"
        elif key in classifiers:
            reasons[key] = "for other classes"
        else:
            taken[key] = given[source]
        used.add(source or "")
    body = [key for key in own if key.startswith(_BODY) and not key.startswith(_inserted(model))]
    lacking = [key for key in body if key not in taken and not key.endswith("num_batches_tracked")]
    if all(value.ndim < 2 for value in taken.values()) or (part == "encoder" and lacking):  # no kernel matches
        first = lacking[0] if lacking else next(iter(reasons))
        raise CheckpointError(
            f"{path} does not match the encoder {model.encoder.spec.name}: {len(lacking)} of its {len(body)} weights "
            f"are missing, first {first.removeprefix(_BODY)} ({reasons[first]})."
        )
    model.load_state_dict(own | taken)
    return [f"initialized from {path}:", *_report(own, taken, reasons), *_unused(set(given) - used, part)]


def _read(path: Path) -> tuple[dict[str, Tensor], ClassTable | None]:
    """The weights by our names, without timm's prefix ``model.``, and the classes if the file has them."""
    checkpoint = read_checkpoint(path, inert=INERT)
    weights = weights_of(checkpoint, path)
    content = checkpoint.get(CONTENT)
    classes = None if content is None else read_description(content, path)[0]
    repository = repository_of(weights)
    weights = repository.renamed(weights) if repository is not None else own_weights(weights)
    if not any(key.startswith("encoder.") for key in weights):
        weights = {_BODY + key: value for key, value in weights.items()}
    return {_plain(key): value for key, value in weights.items()}, classes


def _plain(key: str) -> str:
    """The name without timm's prefix."""
    return key.replace(f"{_BODY}model.", _BODY, 1)


def _inserted(model: SegmentationModel) -> tuple[str, ...]:
    """Prefixes of the weights of attention inside residual blocks, which files of encoder weights do not contain."""
    return tuple(f"{name}." for name, module in model.named_modules() if module in model.residual_attention)


def _classifiers(model: SegmentationModel) -> set[str]:
    """The weights of the head's convolutions with one output channel per class."""
    return {
        f"head.{name}.{kind}"
        for name, module in model.head.named_modules()
        if isinstance(module, nn.Conv2d) and module.out_channels == model.spec.num_classes and module.bias is not None
        for kind in ("weight", "bias")
    }


def _group(key: str) -> str:
    parts = key.split(".")
    return parts[0] if parts[0] == "encoder" else ".".join(parts[:2])


def _report(own: Mapping[str, Any], taken: Mapping[str, Any], reasons: Mapping[str, str]) -> list[str]:
    lines = []
    for group in dict.fromkeys(map(_group, own)):
        keys = [key for key in own if _group(key) == group]
        new = [key for key in keys if key not in taken]
        line = f"  {group}: {len(keys) - len(new)} of {len(keys)} weights copied"
        if why := sorted({reasons.get(key, "encoder only") for key in new}):
            line += f", {len(new)} newly initialized ({'; '.join(why[:3])}{'; ...' if len(why) > 3 else ''})"
        lines.append(line)
    return lines


def _unused(names: set[str], part: Part) -> list[str]:
    if part == "encoder" or not names:
        return []
    groups = sorted(Counter(map(_group, names)).items())
    listed = ", ".join(f"{group} ({count})" for group, count in groups)
    return [f"  unused weights of the file: {listed}"]
