"""Scoring a folder of masks: the object record that ``segattn validate`` writes, without a model."""

import glob
import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch

from segattn.data.ade20k import ADE20K
from segattn.data.cityscapes import Cityscapes
from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.errors import DataError, DataNotFoundError
from segattn.io.error_text import one_line
from segattn.io.folder_lock import folder_lock
from segattn.objects import ObjectSizes, RecordInfo, merge_records
from segattn.processes import ProcessError, Processes
from segattn.score.mask_pairs import MaskPair, Pairing, pair_masks
from segattn.score.pair_scoring import PairScorer
from segattn.score.score_parts import Part, divide_pairs, score_parts

_SHIPPED = Path(__file__).parents[1] / "data"
_INSTANCE_READERS = {"ade20k": ADE20K.read_instances, "cityscapes": Cityscapes.read_instances}
_SIZES = ObjectSizes()
_ONE_PROCESS = Processes(torch.device("cpu"))


@dataclass
class ScoreReport:
    """The result of scoring one folder.

    Attributes:
        record: the object record.
        images: number of scored images.
        missing: label files without a mask.
        extra: masks without a label file.
        problems: reason by name, for pairs that could not be scored.
        resized: number of masks that were resized.

    Examples:
        >>> from segattn.score import score_folder
        >>> folder = "data/camvid/annotations/val"
        >>> report = score_folder(folder, folder, "perfect.parquet", classes="camvid")
        >>> report.record.name, report.missing, report.extra
        ('perfect.parquet', [], [])
    """

    record: Path
    images: int
    missing: Sequence[Path]
    extra: Sequence[Path]
    problems: dict[str, str] = field(default_factory=dict)
    resized: int = 0


def read_classes(name: str | Path) -> LabelScheme:
    """Read a class file, or the shipped classes of a data set by name."""
    shipped = {path.name.removesuffix("_classes.yaml"): path for path in sorted(_SHIPPED.glob("*_classes.yaml"))}
    path = shipped.get(str(name), Path(name))
    if not path.is_file():
        raise DataNotFoundError(f"There is no class file {name}; shipped classes are {', '.join(shipped)}.")
    return LabelScheme.read(path)


def score_folder(
    truth: str | Path,
    masks: str | Path,
    record: str | Path,
    *,
    classes: str | Path,
    values: Literal["ids", "indices"] = "ids",
    resize: Literal["nearest"] | None = None,
    incomplete: bool = False,
    instances: str | Path | None = None,
    images: str | Path | None = None,
    name: str | None = None,
    sizes: ObjectSizes = _SIZES,
    workers: int = 0,
    processes: Processes = _ONE_PROCESS,
) -> ScoreReport:
    """Score masks against label files and write the object record.

    An interrupted call continues with the images that are not finished, unless a file or an argument has changed.
    Several processes divide the images and write the same record as one.

    Args:
        truth: folder of label files.
        masks: folder of masks, paired with the label files as :func:`segattn.score.mask_pairs.pair_masks` explains.
        record: Parquet file to write, replaced if it exists.
        classes: a class file, or the name of a shipped data set, such as ``ade20k``.
        values: whether the masks contain the values of the label files (``ids``) or class indices, with 255 as ignored.
        resize: ``nearest`` resizes masks of another size; None does not score them.
        incomplete: score the other images if masks are missing or cannot be used.
        instances: folder of instance maps in the form of the data set; with a class file, values above 0 are instance
            ids. Objects are then instances, and components where a pixel has no instance.
        images: folder of images to name the pairs after, as ``segattn validate`` does; None takes the label files.
        name: name of the model in comparisons; None takes the name of the folder of masks.
        sizes: the size bins.
        workers: number of reading processes of each process; 0 reads in the process itself.
        processes: those that call this function together, from :func:`segattn.processes.start_processes`.

    Returns:
        The same report in every process.

    Raises:
        DataNotFoundError: if a folder or class file is missing, or nothing can be paired.
        DataError: if masks are missing or cannot be used, unless ``incomplete``, or no pair can be used; if an instance
            map or image is missing.

    Examples:
        >>> from segattn.score import score_folder
        >>> folder = "data/camvid/annotations/val"
        >>> report = score_folder(folder, folder, "perfect.parquet", classes="camvid")
        >>> report.images, report.problems
        (3, {})
    """
    truth, masks, record = Path(truth), Path(masks), Path(record)
    first = processes.rank == 0
    scheme = processes.together(lambda: read_classes(classes))
    folders = {
        name: None if path is None else Path(path) for name, path in (("instances", instances), ("images", images))
    }
    pairing = processes.together(lambda: _pair(truth, masks, incomplete, **folders) if first else Pairing([], [], []))
    class_file = [Path(classes).read_text()] if Path(classes).is_file() else []
    settings = [str(scheme.classes.to_dicts()), values, str(resize), str(sizes), *class_file]
    fingerprint = processes.together(lambda: _fingerprint(pairing.pairs, settings))
    info = RecordInfo(
        class_names=scheme.classes.names,
        edges=sizes.edges,
        bucket_names=sizes.names,
        relative=sizes.relative,
        unit="component" if instances is None else "instance",
        min_objects=sizes.min_objects,
        things=scheme.classes.things,
        extra={
            **{"run": name or masks.absolute().name, "truth": str(truth.absolute()), "masks": str(masks.absolute())},
            **({} if class_file else {"data": str(classes)}),
            **{"files": processes.broadcast(fingerprint)},
        },
    )
    folder = record.with_suffix(".parts")
    parts = divide_pairs(pairing.pairs, folder)
    with ExitStack() as stack:
        own = processes.scatter(processes.together(lambda: _divide(parts, info, record, processes) if first else []))
        processes.together(lambda: stack.enter_context(folder_lock(folder, shared=True)))
        scorer = PairScorer(
            [pair for part in own for pair in part.pairs],
            scheme,
            values=values,
            resize=resize,
            read_instances=_INSTANCE_READERS.get(str(classes), SegmentationDataset.read_instances),
        )
        try:
            processes.together(lambda: score_parts(own, info, scorer, workers=workers, progress=first))
        except ProcessError as error:
            raise ProcessError(f"{one_line(error)}; run the same command again to continue.") from error
        report = ScoreReport(record, len(pairing.pairs), pairing.missing, pairing.extra)
        processes.together(lambda: _finish(report, parts, folder, incomplete=incomplete) if first else None)
    return processes.broadcast(report)


def _pair(truth: Path, masks: Path, incomplete: bool, **folders: Path | None) -> Pairing:
    pairing = pair_masks(truth, masks, **folders)
    if pairing.missing and not incomplete:
        raise DataError(
            f"{len(pairing.missing)} of {len(pairing.missing) + len(pairing.pairs)} label files have no mask in "
            f"{masks}, for example {pairing.missing[0]}; --incomplete scores the others."
        )
    return pairing


def _fingerprint(pairs: Sequence[MaskPair], settings: Sequence[str]) -> str:
    """A digest that changes with every file and setting that the rows depend on."""
    digest = sha256(json.dumps(settings).encode())
    for pair in pairs:
        digest.update(f"{pair.name}\n".encode())
        for path in filter(None, (pair.truth, pair.mask, pair.instances)):
            try:
                state = path.stat()
            except OSError:  # for example, a dangling link: scoring the pair gives the reason
                digest.update(f"{path}\n".encode())
            else:
                digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _divide(parts: Sequence[Part], info: RecordInfo, record: Path, processes: Processes) -> list[list[Part]]:
    """Divide the parts that are not finished among the processes."""
    with folder_lock(record.with_suffix(".parts")):
        for path in record.parent.glob(f"partial-*-{glob.escape(record.name)}"):  # of a run that was killed
            path.unlink()
        unfinished = [part for part in parts if not part.is_finished(info)]
    return [unfinished[rank :: processes.count] for rank in range(processes.count)]


def _finish(report: ScoreReport, parts: Sequence[Part], folder: Path, *, incomplete: bool) -> None:
    """Merge the parts into the record, and complete the report."""
    for part in parts:
        notes = part.notes()
        report.problems |= notes["problems"]
        report.resized += notes["resized"]
    if report.problems and not incomplete:
        raise DataError(
            f"{len(report.problems)} of {report.images} masks cannot be scored (--incomplete scores the others): "
            f"{next(iter(report.problems.values()))}"
        )
    report.images -= len(report.problems)
    if not report.images:
        raise DataError(f"None of the masks can be scored: {next(iter(report.problems.values()))}")
    merge_records([part.path for part in parts], report.record)
    shutil.rmtree(folder)
