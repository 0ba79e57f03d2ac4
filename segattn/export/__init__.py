"""Trained models as single files: for other runtimes as ONNX and torch.export, or slim, without what training needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from segattn.export.agreement import Agreement

__all__ = ["export_model"]

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""The formats of graphs, and the ending by which ``segattn predict`` knows each."""

FORMATS = {**SUFFIXES, "slim": ".safetensors"}
"""All formats with their endings."""


def export_model(
    checkpoint: str | Path,
    output: str | Path,
    *,
    format: Literal["onnx", "torch", "slim"],
    images: Sequence[str | Path] = (),
) -> "Agreement":
    """Write the model of a checkpoint as one file, if that file computes the same.

    A graph takes images (batch, 3, height, width) in 0..1 of any batch, height and width and gives logits of the same
    size; padding and normalization are inside. Classes with names, colors and label ids, the size rule and the
    normalization are in its metadata, as JSON under the key ``segattn``. A slim file holds the weights as safetensors
    and in the same place the architecture too, so that :func:`segattn.checkpoints.load_model` makes the model of it.

    Args:
        checkpoint: written by ``segattn fit``.
        output: the file; ``.onnx`` for ONNX, ``.pt2`` for torch, ``.safetensors`` for a slim one.
        format: ``onnx``, ``torch`` for torch.export, or ``slim``.
        images: files and folders of images on which the exported file is compared with the model, beside random ones.

    Returns:
        How well both agree.

    Raises:
        FileNotFoundError: if there is no such checkpoint or no such image.
        ValueError: if the format does not fit the output or is not installed, a file cannot be read, or the model
            cannot be exported.
        DisagreementError: if the exported file computes something else; it is not written then.
        OSError: if the file cannot be written.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}.")
    output = Path(output)
    if output.suffix != FORMATS[format]:
        raise ValueError(f"The output of format {format} must end in {FORMATS[format]}, got {output.name}.")
    from segattn.checkpoints import load_model, save_model
    from segattn.export.agreement import agreement, find_images
    from segattn.export.graph import to_program
    from segattn.export.writing import require_packages, write_program
    from segattn.io.atomic_write import whole_file

    require_packages(format)
    files = find_images(images)
    trained = load_model(checkpoint)
    program = None if format == "slim" else to_program(trained.model)
    with whole_file(output) as path:
        if program is None:
            save_model(trained, path)
        else:
            write_program(program, trained, path, format=format)
        return agreement(trained, path, files)
