"""``segattn export``: the command line of :func:`segattn.export.export_model`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console

from segattn.export import export_model
from segattn.io.command_line import run_command


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return run_command(export, arguments[1:], prog="segattn export")


def export(
    *,
    checkpoint: Annotated[Path, "FILE"],
    format: Literal["onnx", "torch", "slim"],
    output: Annotated[Path, "FILE"],
    images: Sequence[Path] = (),
) -> int:
    """Write a trained model as one file and compare it with the checkpoint.

    Args:
        checkpoint: the folder of a run (runs/NAME), a checkpoint of segattn fit, or a .safetensors file
        format: onnx (.onnx), torch for torch.export (.pt2), or slim for a checkpoint without training state
            (.safetensors)
        output: the file to write
        images: files or folders of images to compare on, in addition to random images
    """
    found = export_model(checkpoint, output, format=format, images=images)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    classes = f"another class on {found.other_class:,}" if found.other_class else "the same class on all"
    console.print(
        f"compared with the checkpoint on {found.images} images: {classes} of {found.pixels:,} pixels; "
        f"largest difference {found.largest_difference:.2g}, logits up to {found.largest_logit:.3g}"
    )
    console.print(f"wrote {output}, {output.stat().st_size / 2**20:.1f} MiB")
    return 0
