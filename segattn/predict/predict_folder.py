"""The function behind ``segattn predict``. It loads torch only when it is called."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segattn.predict.inputs import find_sources
from segattn.predict.options import Options, Settings

if TYPE_CHECKING:
    from segattn.predict.prediction_run import Report


_DEFAULTS = Settings()


def predict_folder(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    settings: Settings = _DEFAULTS,
    **options: Any,
) -> "Report":
    """Predict images and videos, and write a mask of label ids for each under its relative path and stem.

    An image that cannot be read or predicted holds nothing up: it is named in the report, with the reason.

    Args:
        checkpoint: written by ``segattn fit``, or exported from one; nothing else is needed.
        images: folders, files, glob patterns and lists of them (text files with one path a line), one or several.
        output: a folder, made where it does not exist. Masks have the images' own sizes.
        settings: devices, batch size, resuming and the like: how the run goes about it.
        **options: what is written and how the model is used, see :class:`Options`: ``overlay=True``.

    Returns:
        The masks that were written, the failures and their reasons, and what is to be known about single images.

    Raises:
        FileNotFoundError: if the checkpoint is missing or there is no image.
        ValueError: if an option, the checkpoint or the output folder cannot be used.
        OSError: if the results cannot be written.
    """
    chosen = Options(**options)
    paths = [images] if isinstance(images, str | Path) else images
    found = find_sources(paths, Path(output))
    from segattn.predict.prediction_run import run

    return run(Path(checkpoint), found, Path(output), options=chosen, settings=settings)
