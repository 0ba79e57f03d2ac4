"""Trained models as single files: ONNX or torch.export for other runtimes, or slim, without training state."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from segattn.export.agreement import Agreement

__all__ = ["export_model"]

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "slim": ".safetensors"}
"""File extension of each format."""


def export_model(
    checkpoint: str | Path,
    output: str | Path,
    *,
    format: Literal["onnx", "torch", "slim"],
    images: Sequence[str | Path] = (),
) -> "Agreement":
    """Write the model of a checkpoint as one file, and keep the file only if it computes the same logits.

    A graph (``onnx`` or ``torch``) takes images (batch, channels, height, width), RGB in 0..1, of any size and returns
    logits of the same size; padding and normalization are included. Its metadata contains classes, inference config and
    normalization as JSON under the key ``segattn``. A slim file can be loaded with
    :func:`segattn.checkpoints.load_model`.

    Args:
        checkpoint: written by ``segattn fit``.
        output: the file, with the extension of the format in :data:`SUFFIXES`.
        format: ``onnx``, ``torch`` (torch.export) or ``slim`` (safetensors with the weights and the model's config).
        images: files and folders of images to compare on, in addition to random images.

    Returns:
        How well the file agrees with the checkpoint.

    Raises:
        ValueError: if the output does not match the format, packages are missing, a file cannot be read, or the model
            cannot be exported, or its logits differ by more than rounding.
        OSError: if the checkpoint or an image does not exist, or the file cannot be written.

    Examples:
        >>> from segattn.export import export_model
        >>> agreement = export_model("best.ckpt", "model.safetensors", format="slim", images=["photos"])
        >>> agreement.images, agreement.other_class
        (10, 0)
    """
    output = Path(output)
    if format not in SUFFIXES:
        raise ValueError(f"format must be one of {', '.join(SUFFIXES)}, got {format!r}.")
    if output.suffix != SUFFIXES[format]:
        raise ValueError(f"The output of format {format} must end in {SUFFIXES[format]}, got {output.name}.")
    from segattn.checkpoints import load_model, save_model
    from segattn.export.agreement import agreement, find_images
    from segattn.export.graph import require_packages, to_program, write_program
    from segattn.io.atomic_write import atomic_write

    if format == "onnx":
        require_packages()
    files = find_images(images)
    trained = load_model(checkpoint)
    with atomic_write(output) as path:
        if format == "slim":
            save_model(trained, path)
        else:
            write_program(to_program(trained.model), trained, path, format=format)
        return agreement(trained, path, files)
