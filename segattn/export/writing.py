"""Writing traced models as ONNX or torch.export files, with a description in their metadata."""

import json
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import ExportedProgram

from segattn.checkpoints import TrainedModel
from segattn.checkpoints.network import DESCRIPTION, description_of
from segattn.io.error_text import first_line


def require_packages() -> None:
    """Check that the packages for ONNX are installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ValueError(f"The format onnx needs {', '.join(missing)}: pip install 'segattn[export]'.")


def write_program(program: ExportedProgram, trained: TrainedModel, path: Path, *, format: str) -> None:
    """Write a traced model with a description of its output.

    Args:
        program: of the model.
        trained: source of the description.
        path: of the file.
        format: ``onnx`` or ``torch``.

    Raises:
        ValueError: if the format lacks an operator of the model.
        OSError: if the file cannot be written.
    """
    description = json.dumps(description_of(trained))
    if format == "torch":
        torch.export.save(program, path, extra_files={DESCRIPTION: description})
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
    onnx.model.metadata_props[DESCRIPTION] = description
    onnx.save(path)
