"""A run over many images: nothing is lost, whatever happens on the way."""

import errno
import platform
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import Any

from PIL import Image

from segattn import __version__
from segattn.checkpoints import checkpoint_file
from segattn.checkpoints.network import choose_devices, load_network
from segattn.io.image_files import ImageFileError, open_image
from segattn.predict.inference import Predictor
from segattn.predict.inputs import Found, Source, batches_of
from segattn.predict.manifest import OutputFolder, file_digest
from segattn.predict.options import Options, Settings
from segattn.predict.outputs import Writer, result_folders
from segattn.predict.pipeline import Picture, Pipeline, ahead
from segattn.predict.progress import Progress
from segattn.predict.video import predict_video

WHOLE_LIMIT = 178_956_970
"""Pixels above which an image is refused by default: what Pillow calls a decompression bomb."""

WINDOWS_LIMIT = 500_000_000
"""The same where sliding windows bound the memory."""

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Errors of writing that every image would meet."""


@dataclass
class Report:
    """What a run did.

    Attributes:
        output: the folder of the results.
        masks: path of the mask by image name, in order; of a video, the folder of its masks.
        failures: reason by name, for what could not be predicted.
        kept: names of what an earlier run had finished.
        notes: what is to be known about single images, by name.
    """

    output: Path
    masks: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)


def run(checkpoint: Path, found: Found, output: Path, *, options: Options, settings: Settings) -> Report:
    """Predict everything that was found.

    Args:
        checkpoint: the file of the model.
        found: images and videos.
        output: the folder of the results.
        options: what is written.
        settings: how.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if checkpoint, options, images and folder do not go together.
        OSError: if the results cannot be written.
    """
    _refuse_names_of_results(found.sources, options)
    stop = threading.Event()
    predictors = _predictors(checkpoint, options, settings, stop)
    folder = OutputFolder(output, _description(checkpoint, predictors[0], options, settings))
    writer = Writer(folder, predictors[0].network.classes, options)
    masks = {source.name: (source.path, f"{source.stem}.png") for source in found.sources}
    rows = folder.open(masks, resume=settings.resume, overwrite=settings.overwrite)
    kept = [source.name for source in found.sources if source.name in rows]
    rows |= {name: {"image": name, "reason": reason} for name, reason in found.problems.items()}
    pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the limit is the run's own
    try:
        writer.write_classes()
        with Progress(len(found.sources) - len(kept), shown=settings.progress) as progress:
            for row in _rows(found.sources, frozenset(rows), predictors, writer, settings=settings, progress=progress):
                rows[row["image"]] = row
                if "reason" not in row:
                    folder.add(row)
        folder.close(rows)
    except OSError as error:
        done = sum("reason" not in row for row in rows.values())
        raise OSError(
            f"{error.strerror or error}: cannot write to {output}; {done} of {len(found.sources)} images are done, "
            f"go on with --resume."
        ) from error
    finally:
        Image.MAX_IMAGE_PIXELS = pillow_limit
    return _report(output, found, rows, kept)


def _rows(
    sources: Sequence[Source],
    done: frozenset[str],
    predictors: Sequence[Predictor],
    writer: Writer,
    *,
    settings: Settings,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """The manifest's rows of all that is not done, as they come."""
    limit = settings.max_pixels or (WINDOWS_LIMIT if predictors[0].config.window else WHOLE_LIMIT)
    pipeline = Pipeline[Source, dict[str, Any] | None](
        predictors,
        lambda source: _read(source, limit),
        lambda source, picture: None if source.name in done else _write(writer, source, picture),
    )
    images = [source for source in sources if not source.is_video]
    batches = _batches(images, settings.batch_size)
    for _, row in pipeline.run(batch for batch in batches if any(source.name not in done for source in batch)):
        if row is not None:
            progress.advance()
            yield row
    for source in sources:
        if source.is_video and source.name not in done:
            yield predict_video(source, predictors, writer, batch_size=settings.batch_size, progress=progress)


def _batches(images: Sequence[Source], batch_size: int) -> Iterator[list[Source]]:
    """All images in batches, those that are done included: a resumed run computes in the same company."""
    if batch_size == 1:
        yield from ([source] for source in images)
        return
    with ThreadPoolExecutor(4) as pool:
        sizes = (size.result() for _, size in ahead(images, lambda source: pool.submit(_size, source), 16 * batch_size))
        yield from batches_of(images, sizes, batch_size)


def _size(source: Source) -> tuple[int, int] | None:
    try:
        with open_image(source.path) as opened:
            return opened.stored_size
    except ImageFileError:
        return None


def _read(source: Source, limit: int) -> Picture:
    try:
        with open_image(source.path, max_pixels=limit) as opened:
            return Picture(opened.read(), notes=opened.notes)
    except ImageFileError as error:
        return Picture(reason=error.reason)


def _write(writer: Writer, source: Source, picture: Picture) -> dict[str, Any]:
    row: dict[str, Any] = {"image": source.name, "path": str(source.path)}
    if picture.prediction is None:
        return row | {"reason": picture.reason}
    try:
        files = writer.write(source.stem, picture.prediction, picture.pixels)
    except OSError as error:
        if error.errno in FATAL:
            raise
        return row | {"reason": f"its results cannot be written: {error.strerror or error}"}
    height, width = picture.prediction.labels.shape
    shares = writer.shares(picture.prediction.labels)
    return row | {
        "height": height,
        "width": width,
        "shares": shares,
        "notes": list(picture.notes),
        "files": files,
    }


def _predictors(checkpoint: Path, options: Options, settings: Settings, stop: threading.Event) -> list[Predictor]:
    return [
        Predictor(load_network(checkpoint, device, compile=settings.compile), options, stop)
        for device in choose_devices(settings.devices)
    ]


def _description(checkpoint: Path, predictor: Predictor, options: Options, settings: Settings) -> dict[str, Any]:
    """What the manifest says of the run. The fingerprint covers all that decides a result."""
    deciding = {
        "checkpoint": {
            "path": str(checkpoint),
            "sha256": file_digest(checkpoint_file(checkpoint)),
            "version": predictor.network.version,
        },
        "options": asdict(options),
        "inference": asdict(predictor.config),
    }
    digest = sha256(dumps({**deciding, "checkpoint": deciding["checkpoint"]["sha256"]}, sort_keys=True).encode())
    packages = ("torch", "torchvision", "timm", "segmentation-models-pytorch", "pillow", "numpy")
    return {
        "segattn": __version__,
        **deciding,
        "fingerprint": digest.hexdigest(),
        "device": str(predictor.network.device),
        "batch_size": settings.batch_size,
        "compile": settings.compile,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }


def _refuse_names_of_results(sources: Sequence[Source], options: Options) -> None:
    for name in result_folders(options):
        if any(source.name.startswith(f"{name}/") for source in sources):
            raise ValueError(
                f"The images have a sub-folder {name!r}, where results are to go: rename it, or predict it alone."
            )


def _report(output: Path, found: Found, rows: dict[str, dict[str, Any]], kept: list[str]) -> Report:
    report = Report(output, kept=kept)
    for source in found.sources:
        row = rows[source.name]
        if "reason" not in row:
            report.masks[source.name] = output / (source.stem if source.is_video else f"{source.stem}.png")
            report.notes |= {source.name: row["notes"]} if row["notes"] else {}
    report.failures = {name: row["reason"] for name, row in sorted(rows.items()) if "reason" in row}
    return report
