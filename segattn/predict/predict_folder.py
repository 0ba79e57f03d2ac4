"""Predict folders: find the images, read ahead, compute, write, and skip what is finished."""

import errno
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import file_digest, sha256
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from segattn import __version__
from segattn.io.error_text import one_line
from segattn.io.folder_lock import folder_lock
from segattn.io.image_files import ImageFileError, open_image
from segattn.predict.input_files import Source, find_inputs
from segattn.predict.manifest import Manifest, Row, file_state
from segattn.predict.options import Options, Settings
from segattn.predict.result_files import ResultWriter, result_folders
from segattn.predict.video import VideoError, predict_video

if TYPE_CHECKING:
    from segattn.predict.predictor import Predictor

MAX_PIXELS = 178_956_970
"""Default limit of the size of images, above which Pillow suspects a decompression bomb."""

MAX_PIXELS_WITH_WINDOWS = 500_000_000
"""The same with sliding windows, which need less memory."""

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Errors that would recur for every file."""

VERSIONS = ("torch", "timm", "segmentation-models-pytorch", "pillow", "numpy")

DEFAULT_SETTINGS = Settings()


@dataclass
class Report:
    """Result of a run.

    Attributes:
        masks: path of the mask by image name; for a video, the folder of its masks.
        failures: reason by name, for inputs that could not be predicted.
        kept: names of images that an earlier run had finished.
        notes: remarks by image name, such as that 16 bits were scaled to 8.
        reset_reason: why a resumed run kept nothing of the earlier one; None if it could be resumed.
    """

    masks: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    reset_reason: str | None = None


def predict_folder(
    checkpoint: str | Path,
    images: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    settings: Settings = DEFAULT_SETTINGS,
    **options: Any,
) -> Report:
    """Predict a mask of label ids for every image and every frame of a video.

    Masks have the size, the relative path and the stem of their image. An image that fails does not stop the run; it is
    listed in the report.

    Args:
        checkpoint: written by ``segattn fit``, or an ONNX file of ``segattn export``.
        images: folders, files, glob patterns, and lists of paths (text files with one path per line); one or several.
        output: folder for the results.
        settings: device, batch size, resuming and so on.
        **options: what is written and how the model is applied, see :class:`Options`; for example ``overlay=True``.

    Returns:
        The masks that were written, and the failures with their reasons.

    Raises:
        FileNotFoundError: if the checkpoint is missing, or there are no images.
        ValueError: if an option, the checkpoint or the output folder cannot be used.
        OSError: if the results cannot be written.
    """
    chosen, output = Options(**options), Path(output)
    sources, problems = find_inputs([images] if isinstance(images, str | Path) else images, output)
    _require_separate_names(sources, chosen)
    predictor = _load_predictor(Path(checkpoint), chosen, settings)
    writer = ResultWriter(output, predictor.network.classes, chosen)
    manifest = Manifest(output, _description(Path(checkpoint), predictor, settings))
    with folder_lock(output):
        return _predict(sources, problems, predictor, writer, manifest=manifest, settings=settings)


def _predict(
    sources: Sequence[Source],
    problems: dict[str, str],
    predictor: "Predictor",
    writer: ResultWriter,
    *,
    manifest: Manifest,
    settings: Settings,
) -> Report:
    """Predict what is not finished."""
    masks = [f"{source.stem}.png" for source in sources]
    earlier = manifest.start(masks, resume=settings.resume, overwrite=settings.overwrite)
    paths = {source.name: str(source.path) for source in sources}
    rows = {name: row for name, row in earlier.items() if paths.get(name, row["path"]) == row["path"]}
    kept = [source.name for source in sources if source.name in rows]
    run = _Run(predictor, writer, settings, finished=frozenset(rows))
    rows |= {name: {"image": name, "reason": reason} for name, reason in problems.items()}
    try:
        writer.write_classes()
        console = Console(stderr=True)
        shown = settings.progress and console.is_terminal
        with Progress(
            BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console, disable=not shown
        ) as bar:
            task = bar.add_task("predicting", total=len(sources) - len(kept))
            for row in run.rows(sources):
                rows[row["image"]] = row
                manifest.add(row)
                bar.advance(task)
        manifest.finish(rows)
    except OSError as error:
        done = sum("reason" not in rows.get(source.name, {"reason": ""}) for source in sources)
        raise OSError(
            f"{one_line(error)}; {done} of {len(sources)} images are finished, continue with --resume."
        ) from error
    report = _report(writer.folder, sources, rows, kept)
    report.reset_reason = manifest.reset_reason
    return report


@dataclass(frozen=True)
class _Run:
    """What is needed to predict one image after the other."""

    predictor: "Predictor"
    writer: ResultWriter
    settings: Settings
    finished: frozenset[str]

    def rows(self, sources: Sequence[Source]) -> Iterator[Row]:
        """Predict everything that is not finished, and yield the rows of the manifest."""
        images = [source for source in sources if not source.is_video]
        size = self.settings.batch_size
        # A finished image is computed again with an unfinished one of its chunk: the batch affects the rounding.
        chunks = [images[start : start + size] for start in range(0, len(images), size)]
        unfinished = [chunk for chunk in chunks if any(source.name not in self.finished for source in chunk)]
        pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the limit is that of the settings
        try:
            for rows in self.predictor.map_ahead(self._predict_images, unfinished):
                yield from rows
            for source in sources:
                if source.is_video and source.name not in self.finished:
                    yield self._predict_video(source)
        finally:
            Image.MAX_IMAGE_PIXELS = pillow_limit

    def _predict_images(self, sources: Sequence[Source]) -> list[Row]:
        """Read, compute and write some images; this runs in several threads at once."""
        rows: list[Row] = [{"image": source.name, "path": str(source.path)} for source in sources]
        images: dict[int, UInt8[np.ndarray, "h w 3"]] = {}
        for index, source in enumerate(sources):
            try:
                with open_image(source.path, max_pixels=self._max_pixels) as opened:
                    rows[index]["state"] = file_state(source.path)
                    images[index] = opened.read()
                    rows[index]["notes"] = list(opened.notes)
            except ImageFileError as error:
                rows[index]["reason"] = error.reason
        predictions = self.predictor.predict(list(images.values()))
        for (index, image), prediction in zip(images.items(), predictions, strict=True):
            if isinstance(prediction, str):
                rows[index]["reason"] = prediction
            elif sources[index].name not in self.finished:
                try:
                    files = self.writer.write(sources[index].stem, prediction, image)
                except OSError as error:
                    rows[index]["reason"] = _unless_fatal(error)
                    continue
                shares = self.writer.shares(prediction.labels)
                rows[index] |= {"height": len(image), "width": image.shape[1], "shares": shares, "files": files}
        return [row for row in rows if row["image"] not in self.finished]

    def _predict_video(self, source: Source) -> Row:
        row: Row = {"image": source.name, "path": str(source.path)}
        try:
            row["state"] = file_state(source.path)
            return row | predict_video(source, self.predictor, self.writer, batch_size=self.settings.batch_size)
        except VideoError as error:
            return row | {"reason": str(error)}
        except OSError as error:
            return row | {"reason": _unless_fatal(error)}

    @property
    def _max_pixels(self) -> int:
        return self.settings.max_pixels or (MAX_PIXELS_WITH_WINDOWS if self.predictor.config.window else MAX_PIXELS)


def _unless_fatal(error: OSError) -> str:
    """The reason for a file that cannot be written."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if cause.errno in FATAL:
        raise error
    return one_line(error)


def _load_predictor(checkpoint: Path, options: Options, settings: Settings) -> "Predictor":
    from segattn.checkpoints.network import choose_devices, load_network
    from segattn.predict.predictor import Predictor

    devices = choose_devices(settings.device)
    return Predictor([load_network(checkpoint, device, compile=settings.compile) for device in devices], options)


def _description(checkpoint: Path, predictor: "Predictor", settings: Settings) -> dict[str, Any]:
    """The first line of the manifest. Its fingerprint covers everything that determines the results."""
    from segattn.checkpoints import checkpoint_file

    with checkpoint_file(checkpoint).open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    applied = {"options": asdict(predictor.options), "inference": asdict(predictor.config)}
    return {
        "segattn": __version__,
        "fingerprint": sha256(dumps([digest, applied], sort_keys=True).encode()).hexdigest(),
        "checkpoint": {"path": str(checkpoint), "sha256": digest, "version": predictor.network.version},
        **applied,
        "device": str(predictor.network.device),
        "batch_size": settings.batch_size,
        "compile": settings.compile,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
    }


def _require_separate_names(sources: Sequence[Source], options: Options) -> None:
    for folder in result_folders(options):
        if any(source.name.startswith(f"{folder}/") for source in sources):
            raise ValueError(
                f"The images have a subfolder {folder!r}, which is also a folder of the results: rename it, or predict "
                "it alone."
            )


def _report(output: Path, sources: Sequence[Source], rows: dict[str, Row], kept: list[str]) -> Report:
    report = Report(kept=kept)
    for source in sources:
        row = rows[source.name]
        if "reason" not in row:
            report.masks[source.name] = output / (source.stem if source.is_video else f"{source.stem}.png")
            report.notes |= {source.name: row["notes"]} if row["notes"] else {}
    report.failures = {name: row["reason"] for name, row in sorted(rows.items()) if "reason" in row}
    return report
