"""Predict folders: find the images, skip what is finished, and divide the rest among the processes."""

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from hashlib import file_digest, sha256
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from segattn import __version__
from segattn.io.error_text import one_line
from segattn.io.folder_lock import folder_lock
from segattn.io.image_listing import SkippedFiles
from segattn.predict.input_files import find_inputs
from segattn.predict.manifest import Manifest
from segattn.predict.options import Options, Settings
from segattn.predict.prediction_run import PredictionRun, Share
from segattn.predict.result_files import ResultWriter, result_folders
from segattn.predict.sources import Sources, is_video

if TYPE_CHECKING:
    from segattn.predict.predictor import Predictor
    from segattn.processes import Processes

VERSIONS = ("torch", "timm", "segmentation-models-pytorch", "pillow", "numpy")

DEFAULT_SETTINGS = Settings()


class Masks(Mapping[str, Path]):
    """Paths of masks by image name; for a video, the folder of its masks. They are created when they are needed."""

    def __init__(self, sources: Sources, finished: Bool[np.ndarray, " sources"], folder: Path) -> None:
        self._sources = sources
        self._finished = finished
        self._folder = folder

    def __getitem__(self, name: str) -> Path:
        index = self._sources.index(name)
        if index is None or not self._finished[index]:
            raise KeyError(name)
        source = self._sources[index]
        return self._folder / (source.stem if source.is_video else f"{source.stem}.png")

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources.select(np.flatnonzero(self._finished).tolist()).names)

    def __len__(self) -> int:
        return int(self._finished.sum())


@dataclass
class Report:
    """Result of a run.

    Attributes:
        masks: path of the mask by image name; for a video, the folder of its masks.
        failures: reason by name, for inputs that could not be predicted.
        kept: names of images that an earlier run had finished.
        notes: remarks by image name, such as that 16 bits were scaled to 8.
        skipped: files in the folders of images that are not read as images.
        reset_reason: why a resumed run kept nothing of the earlier one; None if it could be resumed.
        rank: number of this process. With several processes, only the report of the first one (0) has any content.

    Examples:
        >>> from segattn.predict import Settings, predict_folder
        >>> report = predict_folder("best.ckpt", "photos", "masks", settings=Settings(progress=False))
        >>> sorted(report.masks), report.failures
        (['a.jpg', 'b.jpg'], {})
    """

    masks: Mapping[str, Path] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    skipped: SkippedFiles = field(default_factory=SkippedFiles)
    reset_reason: str | None = None
    rank: int = 0


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
    listed in the report. With several processes, each of them runs the calling script.

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

    Examples:
        >>> from segattn.predict import Settings, predict_folder
        >>> settings = Settings(progress=False)
        >>> report = predict_folder("best.ckpt", "photos", "overlays", settings=settings, overlay=True)
        >>> len(report.masks)
        2
    """
    from segattn.processes import start_processes

    chosen, output = Options(**options), Path(output)
    inputs = [images] if isinstance(images, str | Path) else images
    processes = start_processes(settings.device, devices=settings.devices, num_nodes=settings.num_nodes)
    first = processes.rank == 0
    skipped = SkippedFiles()
    sources, problems = processes.together(
        lambda: _find(inputs, output, chosen, skipped) if first else (Sources("", []), {})
    )
    run = processes.together(lambda: _load(Path(checkpoint), output, chosen, settings=settings, processes=processes))
    shares, kept = processes.together(lambda: _divide(sources, problems, run, processes.count) if first else ([], []))
    share = processes.scatter(shares)
    with ExitStack() as stack:
        processes.together(lambda: stack.enter_context(folder_lock(output, shared=True)))
        try:
            processes.together(lambda: run.predict(share))
            if first:
                run.manifest.finish(sources)
        except OSError as error:
            if not first:
                raise
            report = _report(sources, kept, run.manifest)
            raise OSError(
                f"{one_line(error)}; {len(report.masks)} of {len(sources)} images are finished, continue with --resume."
            ) from error
        report = _report(sources, kept, run.manifest) if first else Report(rank=processes.rank)
        report.skipped = skipped
        return report


def _find(
    inputs: Sequence[str | Path], output: Path, options: Options, skipped: SkippedFiles
) -> tuple[Sources, dict[str, str]]:
    """Find the inputs; their names must differ from those of the results."""
    sources, problems = find_inputs(inputs, output, skipped)
    for folder in result_folders(options):
        if any(name.startswith(f"{folder}/") for name in sources.names):
            raise ValueError(
                f"The images have a subfolder {folder!r}, which is also a folder of the results: rename it, or predict "
                "it alone."
            )
    return sources, problems


def _load(
    checkpoint: Path, output: Path, options: Options, *, settings: Settings, processes: "Processes"
) -> PredictionRun:
    """Load the model."""
    from segattn.checkpoints.network import load_network
    from segattn.predict.predictor import Predictor

    predictor = Predictor(load_network(checkpoint, processes.device, compile=settings.compile), options)
    writer = ResultWriter(output, predictor.network.classes, options)
    manifest = Manifest(output, _description(checkpoint, predictor, settings), rank=processes.rank)
    return PredictionRun(predictor, writer, manifest, settings)


def _divide(
    sources: Sources, problems: dict[str, str], run: PredictionRun, processes: int
) -> tuple[list[Share], list[str]]:
    """Begin the results, and divide what is not finished among the processes.

    Returns:
        The shares, and the names of the finished images.
    """
    settings, names = run.settings, sources.names
    with folder_lock(run.manifest.folder):
        finished = run.manifest.start(
            sources, resume=settings.resume, overwrite=settings.overwrite, processes=processes
        )
        run.writer.write_classes()
    with run.manifest.appending() as add:
        for name, reason in problems.items():
            add({"image": name, "reason": reason})
    named_videos = np.fromiter(map(is_video, names), bool, len(names))
    images, videos = np.flatnonzero(~named_videos), np.flatnonzero(named_videos & ~finished)
    batches = np.arange(len(images)) // settings.batch_size
    unfinished = np.unique(batches[~finished[images]])
    shares = []
    for rank in range(processes):
        own = images[np.isin(batches, unfinished[rank::processes])].tolist()
        computed_again = {names[index] for index in own if finished[index]}
        shares.append(Share(sources.select(own), sources.select(videos[rank::processes].tolist()), computed_again))
    return shares, list(sources.select(np.flatnonzero(finished).tolist()).names)


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
        "device": predictor.network.device.type,
        "batch_size": settings.batch_size,
        "compile": settings.compile,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
    }


def _report(sources: Sources, kept: list[str], manifest: Manifest) -> Report:
    """The result of all processes."""
    finished = np.zeros(len(sources), bool)
    report = Report(Masks(sources, finished, manifest.folder), kept=kept, reset_reason=manifest.reset_reason)
    for row in manifest.rows():
        index = sources.index(row["image"])
        if "reason" in row:
            report.failures[row["image"]] = sys.intern(row["reason"])
        elif index is not None:
            finished[index] = True
            report.notes |= {row["image"]: row["notes"]} if row["notes"] else {}
    return report
