"""``segattn export``: the command line of :func:`segattn.export.export_model`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from segattn.export import FORMATS, export_model


def main(arguments: Sequence[str]) -> int:
    """Write the file and say how well it agrees."""
    given = _parser().parse_args(arguments[1:])
    found = export_model(given.checkpoint, given.output, format=given.format, images=given.images)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    classes = f"another class on {found.other_class:,}" if found.other_class else "the same class on all"
    console.print(
        f"compared with the checkpoint on {found.images} images: {classes} of {found.pixels:,} pixels; "
        f"largest difference {found.largest_difference:.2g}, of logits up to {found.largest_logit:.3g}"
    )
    console.print(f"wrote {given.output}, {given.output.stat().st_size / 2**20:.1f} MiB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segattn export",
        description="Write a trained model as one file, for other runtimes or slim, and compare it with the original.",
    )
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="FILE", help="written by segattn fit")
    parser.add_argument(
        "--format",
        required=True,
        choices=FORMATS,
        help="onnx for a .onnx file, torch for torch.export (.pt2), slim for a checkpoint without what only training "
        "needs (.safetensors)",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the file")
    parser.add_argument(
        "--images", nargs="+", default=(), type=Path, metavar="PATH", help="also compare on these files or folders"
    )
    return parser
