"""``segattn predict``: the command line of :func:`segattn.predict.predict_folder`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from rich.console import Console

from segattn.io.command_line import run_command
from segattn.io.printable import printable
from segattn.predict.options import Options, Settings
from segattn.predict.predict_folder import predict_folder


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return run_command(predict, arguments[1:], prog="segattn predict", names={"progress": "quiet"})


def predict(
    checkpoint: Annotated[Path, "FILE"],
    images: Annotated[list[str], "PATH"],
    *,
    output: Annotated[Path, "DIR"],
    options: Options,
    settings: Settings,
) -> int:
    """Predict a mask of label ids for every image and every frame of a video.

    Masks have the size, the relative path and the stem of their image. Images that fail are listed with the reason, and
    the exit code is then 1.

    Args:
        checkpoint: the folder of a run (runs/NAME), a checkpoint of segattn fit, a .safetensors file, or an ONNX file
            of segattn export
        images: folders with their subfolders, files, glob patterns, lists of paths (.txt files or @FILE), videos
        output: folder for the results
        options: described there
        settings: described there
    """
    chosen = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    try:
        report = predict_folder(checkpoint, images, output, settings=settings, **chosen)
    except KeyboardInterrupt:
        _print(f"Stopped. Finished results in {output} are intact; --resume continues the run.", error=True)
        raise
    if report.rank > 0:
        return 0  # the first process reports the results of all
    if report.reset_reason:
        _print(f"note: nothing of {output} was kept: {report.reset_reason}")
    if report.skipped.count:
        _print(f"note: {report.skipped}")
    for name, notes in report.notes.items():
        _print(f"note: {name}: {'; '.join(notes)}")
    for name, reason in report.failures.items():
        _print(f"failed: {name}: {reason}", error=True)
    kept = f", {len(report.kept)} of them from an earlier run" if report.kept else ""
    failed = f"; {len(report.failures)} failed" if report.failures else ""
    _print(f"{len(report.masks)} masks in {output}{kept}{failed}")
    return 1 if report.failures else 0


def _print(text: str, *, error: bool = False) -> None:
    Console(stderr=error).print(printable(text), markup=False, highlight=False, soft_wrap=True)
