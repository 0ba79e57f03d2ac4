"""A model as a graph for any batch size, height and width, written as an ONNX or torch.export file."""

import copy
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from timm.layers import AvgPool2dSame, Conv2dSame
from timm.layers.pool2d_same import MaxPool2dSame
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.fx.experimental import _config as shape_config
from torch.nn.functional import linear
from torch.utils._sympy.value_ranges import ValueRanges

from segattn.checkpoints import CONTENT, TrainedModel, describe_model
from segattn.io.error_text import first_line
from segattn.models.segmentation_model import SegmentationModel

EXAMPLE = (481, 545)
"""Height and width of the input used for tracing: no side of any feature is 1 or a multiple of a stride."""

SAME_PADDING = (Conv2dSame, MaxPool2dSame, AvgPool2dSame)


def to_program(model: SegmentationModel) -> ExportedProgram:
    """Trace a model in evaluation mode: images (b, c, h, w) -> logits (b, classes, h, w), for all sizes.

    Raises:
        ValueError: if a part of the model cannot be traced for all sizes.
    """
    graph = _Logits(_exportable(copy.deepcopy(model).cpu())).eval()
    sizes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    # Without this setting torch assumes that no feature is one pixel high or wide, and the graph rejects small images.
    with torch.no_grad(), shape_config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]  # set at run time
        try:
            program = export(graph, (torch.rand(2, model.spec.channels or 3, *EXAMPLE),), dynamic_shapes=(sizes,))
        except Exception as error:  # the tracer's exceptions have no other common base
            raise ValueError(f"This model cannot be exported for all sizes: {first_line(error)}.") from error
    return _for_all_sizes(program)


def require_packages() -> None:
    """Check that the packages for ONNX are installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ValueError(f"The format onnx needs {', '.join(missing)}: pip install 'segattn[export]'.")


def write_program(program: ExportedProgram, trained: TrainedModel, path: Path, *, format: str) -> None:
    """Write a traced model as ``onnx`` or ``torch``, with a description of its output in the metadata.

    Raises:
        ValueError: if the format lacks an operator of the model.
    """
    spec = trained.model.encoder.spec
    content = {
        **describe_model(trained.model, trained.classes, trained.inference),
        "normalization": {"mean": spec.mean, "std": spec.std, "inside": True},  # for information: it is in the graph
    }
    description = json.dumps(content)
    if format == "torch":
        torch.export.save(program, path, extra_files={CONTENT: description})
        return
    try:
        onnx = torch.onnx.export(program, input_names=["image"], output_names=["logits"], dynamo=True, verbose=False)
    except torch.onnx.errors.OnnxExporterError as error:
        raise ValueError(f"This model cannot be written as ONNX: {first_line(error)}.") from error
    if onnx is None:
        raise AssertionError("without a file name, the exporter returns the program")
    for value in (*onnx.model.graph.inputs, *onnx.model.graph.outputs):
        for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
            value.shape[axis] = name  # type: ignore[index]  # these shapes are known
    onnx.model.metadata_props[CONTENT] = description
    onnx.save(path)


def _for_all_sizes(program: ExportedProgram) -> ExportedProgram:
    """Remove the tracer's assumptions about its example, such as "no side of a feature is 1".

    They only guard the choice between equivalent implementations (a view or a copy); the operators in the graph work
    for all sizes. :mod:`segattn.export.agreement` tests the sizes that were excluded.
    """
    getattr(program, "_guards_code", []).clear()  # since torch 2.9
    for side, allowed in program.range_constraints.items():
        program.range_constraints[side] = ValueRanges(1, allowed.upper)
    return program


class _Logits(nn.Module):
    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        logits: Tensor = self.model(image).logits
        return logits


class _CellMeans(nn.Module):
    """Adaptive average pooling to ``size`` as two matrix products, because ONNX has it only for fixed sizes."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c rows columns"]:
        """The mean of every cell; neighboring cells overlap if the size is not a multiple of their number."""
        rows, columns = (_cells(side, count, x) for side, count in zip(x.shape[2:], self.size, strict=True))
        return linear(linear(x, columns).mT, rows).mT


def _cells(side: int, count: int, like: Tensor) -> Float[Tensor, "count side"]:
    """The weight of every position in every cell, from floor(i side / count) to ceil((i + 1) side / count)."""
    index = rearrange(torch.arange(count, device=like.device), "count -> count 1")
    position = torch.arange(side, device=like.device)
    first, last = index * side // count, ((index + 1) * side + count - 1) // count
    inside = ((position >= first) & (position < last)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def _exportable(model: SegmentationModel) -> SegmentationModel:
    """Replace modules that depend on the input size in a way that a graph cannot express, or only slowly.

    The memory format is left to the program that runs the graph.
    """
    model.spec = replace(model.spec, channels_last=False)
    model.to(memory_format=torch.contiguous_format)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, SAME_PADDING):
                setattr(parent, name, _with_fixed_padding(child))
            elif isinstance(child, nn.AdaptiveAvgPool2d):
                size: Any = child.output_size
                rows, columns = (size, size) if isinstance(size, int) else size
                if rows is not None and columns is not None and (rows, columns) != (1, 1):
                    setattr(parent, name, _CellMeans((rows, columns)))
    return model


def _with_fixed_padding(layer: Conv2dSame | MaxPool2dSame | AvgPool2dSame) -> nn.Module:
    """Make TensorFlow's padding constant.

    It depends on the side modulo the stride, which is 0 here because the model pads its images.
    """
    dilation = getattr(layer, "dilation", (1, 1))
    reach = [(length - 1) * step + 1 for length, step in zip(layer.kernel_size, dilation, strict=True)]
    vertical, horizontal = (max(length - step, 0) for length, step in zip(reach, layer.stride, strict=True))
    plain = copy.copy(layer)
    plain.__class__ = next(kind for kind in (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d) if isinstance(layer, kind))
    value = -torch.inf if isinstance(layer, MaxPool2dSame) else 0.0
    sides = (horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2)
    return nn.Sequential(nn.ConstantPad2d(sides, value), plain)
