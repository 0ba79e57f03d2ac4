"""Predict folders: find the images, skip what is finished, and divide the rest among the processes."""

import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from hashlib import file_digest, sha256
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segattn import __version__
from segattn.io.error_text import one_line
from segattn.io.folder_lock import folder_lock
from segattn.predict.input_files import Source, find_inputs
from segattn.predict.manifest import Manifest
from segattn.predict.options import Options, Settings
from segattn.predict.prediction_run import PredictionRun, Share
from segattn.predict.result_files import ResultWriter, result_folders

if TYPE_CHECKING:
    from segattn.predict.predictor import Predictor
    from segattn.processes import Processes

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
        rank: number of this process. With several processes, only the report of the first one (0) has any content.
    """

    masks: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
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
    """
    from segattn.processes import start_processes

    chosen, output = Options(**options), Path(output)
    inputs = [images] if isinstance(images, str | Path) else images
    processes = start_processes(settings.device, devices=settings.devices, num_nodes=settings.num_nodes)
    first = processes.rank == 0
    sources, problems = processes.together(lambda: _find(inputs, output, chosen) if first else ([], {}))
    run = processes.together(lambda: _load(Path(checkpoint), output, chosen, settings=settings, processes=processes))
    shares, kept = processes.together(lambda: _divide(sources, problems, run, processes.count) if first else ([], []))
    share = processes.scatter(shares)
    with ExitStack() as stack:
        processes.together(lambda: stack.enter_context(folder_lock(output, shared=True)))
        try:
            processes.together(lambda: run.predict(share))
            if first:
                run.manifest.finish()
        except OSError as error:
            if not first:
                raise
            done = {row["image"] for row in run.manifest.rows() if "reason" not in row}
            raise OSError(
                f"{one_line(error)}; {len(done & {source.name for source in sources})} of {len(sources)} images are "
                "finished, continue with --resume."
            ) from error
        return _report(sources, kept, run.manifest) if first else Report(rank=processes.rank)


def _find(inputs: Sequence[str | Path], output: Path, options: Options) -> tuple[list[Source], dict[str, str]]:
    """Find the inputs; their names must differ from those of the results."""
    sources, problems = find_inputs(inputs, output)
    for folder in result_folders(options):
        if any(source.name.startswith(f"{folder}/") for source in sources):
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
    sources: Sequence[Source], problems: dict[str, str], run: PredictionRun, processes: int
) -> tuple[list[Share], list[str]]:
    """Begin the results, and divide what is not finished among the processes.

    Returns:
        The shares, and the names of the finished images.
    """
    paths = {source.name: str(source.path) for source in sources}
    masks = (f"{source.stem}.png" for source in sources)
    settings = run.settings
    with folder_lock(run.manifest.folder):
        finished = run.manifest.start(
            paths, masks, resume=settings.resume, overwrite=settings.overwrite, processes=processes
        )
        run.writer.write_classes()
    for name, reason in problems.items():
        run.manifest.add({"image": name, "reason": reason})
    images = [source for source in sources if not source.is_video]
    videos = [source for source in sources if source.is_video and source.name not in finished]
    starts = range(0, len(images), settings.batch_size)
    chunks = [images[start : start + settings.batch_size] for start in starts]
    chunks = [chunk for chunk in chunks if any(source.name not in finished for source in chunk)]
    shares = []
    for rank in range(processes):
        own = chunks[rank::processes]
        names = {source.name for chunk in own for source in chunk}
        shares.append(Share(own, videos[rank::processes], names & finished))
    return shares, [name for name in paths if name in finished]


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


def _report(sources: Sequence[Source], kept: list[str], manifest: Manifest) -> Report:
    """The result of all processes."""
    report = Report(kept=kept, reset_reason=manifest.reset_reason)
    by_name = {source.name: source for source in sources}
    for row in manifest.rows():
        source = by_name.get(row["image"])
        if "reason" in row:
            report.failures[row["image"]] = row["reason"]
        elif source:
            report.masks[source.name] = manifest.folder / (source.stem if source.is_video else f"{source.stem}.png")
            report.notes |= {source.name: row["notes"]} if row["notes"] else {}
    return report
