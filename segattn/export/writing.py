"""Graphs as files that describe themselves."""

import json
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import ExportedProgram

from segattn.checkpoints import TrainedModel
from segattn.checkpoints.network import DESCRIPTION, description_of

MAX_ONNX_BYTES = 3 * 2**29
"""Weights from which on torch splits an ONNX model into two files; the format's own limit is 2 GiB."""


def require_packages(format: str) -> None:
    """Refuse what cannot be written here before the work starts.

    Raises:
        ValueError: if a package is missing.
    """
    needed = ("onnx", "onnxscript", "onnxruntime") if format == "onnx" else ()
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise ValueError(f"The format onnx needs {', '.join(missing)}: pip install 'segattn[export]'.")


def write_program(program: ExportedProgram, trained: TrainedModel, path: Path, *, format: str) -> None:
    """Write a traced model with the description of what its output means.

    Args:
        program: of the model.
        trained: what the description is taken from.
        path: of the file.
        format: ``onnx`` or ``torch``.

    Raises:
        ValueError: if the model is too large for the format, or the format lacks one of its operators.
        OSError: if the file cannot be written.
    """
    description = json.dumps(description_of(trained))
    if format == "torch":
        try:
            torch.export.save(program, path, extra_files={DESCRIPTION: description})
        except OSError:
            raise
        except Exception as error:  # of any kind, with the whole graph in its message
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"This model cannot be written as a torch export: {reason}. Try format onnx.") from error
        return
    size = sum(weights.numel() * weights.element_size() for weights in program.state_dict.values())
    if size > MAX_ONNX_BYTES:
        raise ValueError(f"The weights take {size / 2**30:.1f} GiB, too much for one ONNX file: take format torch.")
    try:
        onnx = torch.onnx.export(program, input_names=["image"], output_names=["logits"], dynamo=True, verbose=False)
    except torch.onnx.errors.OnnxExporterError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"This model cannot be written as ONNX: {reason}.") from error
    if onnx is None:
        raise AssertionError("the exporter returns a program where it is given no file")
    for value in (*onnx.model.graph.inputs, *onnx.model.graph.outputs):
        for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
            value.shape[axis] = name  # type: ignore[index]  # a shape may be unknown; ours are not
    onnx.model.metadata_props[DESCRIPTION] = description
    onnx.save(path)
