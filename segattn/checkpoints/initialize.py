"""Starting from the weights of another model: its encoder, or all that fits."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from segattn.checkpoints.checkpoint_files import CONTENT, CheckpointError, origin_of, read_checkpoint, weights_of
from segattn.checkpoints.foreign import INERT
from segattn.checkpoints.repositories import REPOSITORIES
from segattn.checkpoints.trained import checkpoint_file, described_classes, own_weights
from segattn.models.segmentation_model import SegmentationModel
from segattn.sample import ClassTable

Part = Literal["encoder", "all"]

_BODY = "encoder.body."
_INSERTED = re.compile(r"\.(?:(bn\d)\.0|(conv\d)\.1)\.(\w+)$")
"""Where attention inside residual blocks has moved a norm or a convolution into a sequence."""


def initialize(model: SegmentationModel, path: str | Path, *, classes: ClassTable, part: Part = "all") -> list[str]:
    """Take over weights by name and shape; what does not fit keeps its initial values.

    Args:
        model: changed in place.
        path: a checkpoint of this project or of one that ``segattn import`` reads, its folder, or a file of encoder
            weights alone. Nothing in it is executed.
        classes: of the model. Weights of a classifier are taken only if they are for the same classes, where the file
            tells them.
        part: ``encoder``, which must fit completely, or ``all`` that fits.

    Returns:
        What was and was not taken: one line for each part of the model and of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, nothing fits, or the encoder is asked for and does not fit.
    """
    path = checkpoint_file(Path(path))
    given, told = _read(path)
    own = model.state_dict()
    foreign_classes = told is not None and told.names != classes.names
    classifiers = _classifiers(model) if foreign_classes else set()
    taken: dict[str, Tensor] = {}
    used: set[str] = set()
    reasons: dict[str, str] = {}
    for key, value in own.items():
        if part == "encoder" and not key.startswith(_BODY):
            continue
        source = next((name for name in _names(key) if name in given), None)
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
    if all(value.ndim < 2 for value in taken.values()) or (part == "encoder" and lacking):  # no kernel, only counts
        first = lacking[0] if lacking else next(iter(reasons))
        raise CheckpointError(
            f"{path} does not fit the encoder {model.encoder.spec.name}: {len(lacking)} of its {len(body)} weights are "
            f"missing, first {first.removeprefix(_BODY)} ({reasons[first]})."
        )
    model.load_state_dict(own | taken)
    return [f"initialized from {path}:", *_report(own, taken, reasons), *_unused(set(given) - used, part)]


def newly_initialized(model: SegmentationModel) -> str:
    """The parts of a model that no encoder weights fill, with their numbers of parameters."""
    parts: dict[str, list[nn.Module]] = {"head": [model.head], "attention": list(model.attention.values())}
    parts["attention inside residual blocks"] = list(model.residual_attention)
    counts = {
        name: sum(p.numel() for module in modules for p in module.parameters()) for name, modules in parts.items()
    }
    return ", ".join(f"{name} ({count:,} parameters)" for name, count in counts.items() if parts[name])


def _read(path: Path) -> tuple[dict[str, Tensor], ClassTable | None]:
    """Weights by our names, those of the encoder without the prefix of some library encoders; and the classes."""
    checkpoint = read_checkpoint(path, inert=INERT)
    weights = weights_of(checkpoint, path)
    content = checkpoint.get(CONTENT)
    classes = None if content is None else described_classes(content, path)
    repository = REPOSITORIES.get(origin_of(list(weights)) or "")
    if repository is not None:
        weights = {repository.own_name(name) or name: value for name, value in repository.adapted(weights).items()}
    else:
        weights = own_weights(weights)
    if not any(key.startswith("encoder.") for key in weights):
        weights = {_BODY + key: value for key, value in weights.items()}
    return {_plain(key): value for key, value in weights.items()}, classes


def _plain(key: str) -> str:
    return key.replace(f"{_BODY}model.", _BODY, 1)


def _names(key: str) -> list[str]:
    """The names under which a weight may be found."""
    return [_plain(key), _INSERTED.sub(r".\1\2.\3", _plain(key))]


def _inserted(model: SegmentationModel) -> tuple[str, ...]:
    """Prefixes of the weights of attention inside residual blocks, which no encoder weights fill."""
    return tuple(f"{name}." for name, module in model.named_modules() if module in model.residual_attention)


def _classifiers(model: SegmentationModel) -> set[str]:
    """The weights of the head's 1x1 convolutions to one channel for each class."""
    return {
        f"head.{name}.{kind}"
        for name, module in model.head.named_modules()
        if isinstance(module, nn.Conv2d) and module.out_channels == model.num_classes and module.bias is not None
        for kind in ("weight", "bias")
    }


def _group(key: str) -> str:
    parts = key.split(".")
    return parts[0] if parts[0] == "encoder" else ".".join(parts[:2])


def _report(own: Mapping[str, Any], taken: Mapping[str, Any], reasons: Mapping[str, str]) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key in own:
        groups[_group(key)].append(key)
    lines = []
    for group, keys in groups.items():
        new = [key for key in keys if key not in taken]
        line = f"  {group}: {len(keys) - len(new)} of {len(keys)} weights taken"
        if why := sorted({reasons.get(key, "not asked for") for key in new}):
            line += f", {len(new)} newly initialized ({'; '.join(why[:3])}{'; ...' if len(why) > 3 else ''})"
        lines.append(line)
    return lines


def _unused(names: set[str], part: Part) -> list[str]:
    if part == "encoder" or not names:
        return []
    groups: dict[str, int] = defaultdict(int)
    for name in names:
        groups[_group(name)] += 1
    listed = ", ".join(f"{group} ({count})" for group, count in sorted(groups.items()))
    return [f"  in the file, but not in this model: {listed}"]
