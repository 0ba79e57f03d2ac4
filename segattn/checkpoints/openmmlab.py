"""The metadata of OpenMMLab's checkpoints: classes, and the config as Python source.

The source is parsed, not executed; only ``dict(...)`` calls, lists, tuples and literals are supported.
"""

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from segattn.inference.inference_config import InferenceConfig
from segattn.models.encoders import EncoderSpec
from segattn.sample import ClassInfo, ClassTable

_D8 = {"strides": [1, 2, 1, 1], "dilations": [1, 1, 2, 4], "contract_dilation": True}
_LONGEST_STAGE = 36
_DEFAULTS = {"strides": [1, 2, 2, 2], "dilations": [1, 1, 1, 1], "contract_dilation": False}


@dataclass(frozen=True)
class Recipe:
    """What the config specifies about a model beyond its weights.

    Attributes:
        encoder: the encoder with output stride, dilations and normalization.
        align_corners: whether logits are resized with aligned corners.
        head: the config of the head.
        inference: the inference config, if the config specifies sliding windows.
    """

    encoder: EncoderSpec
    align_corners: bool
    head: Mapping[str, Any] = field(default_factory=dict)
    inference: InferenceConfig | None = None


def recipe_of(meta: Mapping[str, Any], encoder: EncoderSpec, head_type: str) -> Recipe | None:
    """The recipe in a checkpoint's ``meta``, or None if it contains no readable config.

    ``encoder`` and ``head_type`` are the encoder and the name of the head as far as the weights determine them.
    """
    config = _literals(next((meta[key] for key in ("cfg", "config") if isinstance(meta.get(key), str)), ""))
    model = config.get("model")
    if not isinstance(model, dict):
        return None
    backbone, head = (model.get(key) or {} for key in ("backbone", "decode_head"))
    test = model.get("test_cfg") or config.get("test_cfg") or {}  # outside of the model in the first versions
    head = head[-1] if isinstance(head, list) else head  # the last one of a cascade predicts
    head_name, backbone_name = (str(part.get("type")).rpartition(".")[2] for part in (head, backbone))
    if head_name != head_type or backbone_name not in ("ResNetV1c", "ResNet"):
        raise ValueError(f"its config describes {head_name} on {backbone_name}, not {head_type} on ResNetV1c")
    layout = {key: backbone.get(key, default) for key, default in _DEFAULTS.items()}
    stride = 4 * math.prod(layout["strides"])
    if stride not in (8, 16, 32):
        raise ValueError(f"its config has output stride {stride}; supported are 8, 16 and 32")
    dilations = None
    if layout != _D8 or backbone.get("multi_grid"):
        dilations = {f"layer{stage}": _dilations(stage, layout, backbone.get("multi_grid")) for stage in (3, 4)}
    encoder = replace(encoder, output_stride=stride, dilations=dilations)
    pixels = model.get("data_preprocessor") or config.get("data_preprocessor") or config.get("img_norm_cfg") or {}
    if "mean" in pixels and "std" in pixels:
        mean, std = (tuple(round(value / 255, 9) for value in pixels[key]) for key in ("mean", "std"))
        encoder = replace(encoder, mean=mean, std=std)
    inference = None
    if test.get("mode") == "slide":
        inference = InferenceConfig(window=tuple(test["crop_size"]), stride=tuple(test["stride"]))
    return Recipe(encoder, bool(head.get("align_corners")), head, inference)


def _dilations(stage: int, layout: Mapping[str, Any], multi_grid: Sequence[int] | None) -> list[int]:
    """Dilation of every block of a stage, for the longest possible stage."""
    if stage == 4 and multi_grid:
        return list(multi_grid)
    dilation = layout["dilations"][stage - 1]
    first = dilation // 2 if layout["contract_dilation"] and dilation > 1 else dilation
    return [first] + [dilation] * (_LONGEST_STAGE - 1)


def classes_of(meta: Mapping[str, Any]) -> ClassTable | None:
    """The class table in a checkpoint's ``meta``, with the indices as label ids, or None."""
    content = meta.get("dataset_meta") or {}
    names = content.get("classes") or meta.get("CLASSES")
    palette = content.get("palette") or meta.get("PALETTE")
    if not isinstance(names, Sequence) or not isinstance(palette, Sequence) or len(names) != len(palette):
        return None
    colors = [(int(red), int(green), int(blue)) for red, green, blue in palette]
    infos = (
        ClassInfo(str(name).strip(), color, index)
        for index, (name, color) in enumerate(zip(names, colors, strict=True))
    )
    return ClassTable(tuple(infos))


def _literals(source: str) -> dict[str, Any]:
    """The values of a config's assignments that consist of literals."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                found[statement.targets[0].id] = _literal(statement.value)
            except ValueError:
                continue  # an expression, which is not evaluated
    return found


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return {keyword.arg: _literal(keyword.value) for keyword in keywords}
        case ast.Dict(keys=keys, values=values):
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_literal(element) for element in elements]
        case _:
            return ast.literal_eval(node)
