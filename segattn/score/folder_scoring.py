"""Scoring a folder of masks: the object record that ``segattn validate`` writes, without a model."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from segattn.data.class_file import LabelScheme
from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.workers import start_worker
from segattn.io.atomic_write import atomic_write
from segattn.objects import ObjectSizes, RecordError, RecordInfo, RecordWriter, merge_records, part_path, read_record
from segattn.score.mask_pairs import MaskPair, pair_masks
from segattn.score.pair_scoring import PairScore, PairScorer

IMAGES_PER_PART = 500
"""Images after which an interrupted run can continue."""

_SHIPPED = Path(__file__).parents[1] / "data"
_SIZES = ObjectSizes()


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
    name: str | None = None,
    sizes: ObjectSizes = _SIZES,
    workers: int = 0,
) -> ScoreReport:
    """Score masks against label files and write the object record.

    An interrupted call continues with the images that are not finished, unless a file or an argument has changed.

    Args:
        truth: folder of label files.
        masks: folder of masks, paired with the label files as :func:`segattn.score.mask_pairs.pair_masks` explains.
        record: Parquet file to write, replaced if it exists.
        classes: a class file, or ``ade20k``, ``camvid`` or ``cityscapes``.
        values: whether the masks contain the values of the label files (``ids``) or class indices, with 255 as ignored.
        resize: ``nearest`` resizes masks of another size; None does not score them.
        incomplete: score the other images if masks are missing or cannot be used.
        name: name of the model in comparisons; None takes the name of the folder of masks.
        sizes: the size bins.
        workers: number of reading processes; 0 reads in this process.

    Raises:
        DataNotFoundError: if a folder or class file is missing, or nothing can be paired.
        DataError: if masks are missing or cannot be used, unless ``incomplete``, or no pair can be used.
    """
    truth, masks, record = Path(truth), Path(masks), Path(record)
    scheme = read_classes(classes)
    pairing = pair_masks(truth, masks)
    if pairing.missing and not incomplete:
        raise DataError(
            f"{len(pairing.missing)} of {len(pairing.missing) + len(pairing.pairs)} label files have no mask in "
            f"{masks}, for example {pairing.missing[0]}; --incomplete scores the others."
        )
    settings = [str(scheme.classes.to_dicts()), values, str(resize), str(sizes)]
    info = RecordInfo(
        class_names=scheme.classes.names,
        edges=sizes.edges,
        bucket_names=sizes.names,
        relative=sizes.relative,
        min_objects=sizes.min_objects,
        things=scheme.classes.things,
        extra={
            **{"run": name or masks.absolute().name, "truth": str(truth.absolute()), "masks": str(masks.absolute())},
            **({} if _file(classes) else {"data": str(classes)}),
            **{"files": _fingerprint(pairing.pairs, settings + [Path(path).read_text() for path in _file(classes)])},
        },
    )
    scorer = PairScorer(pairing.pairs, scheme, values=values, resize=resize)
    report = ScoreReport(record, len(pairing.pairs), pairing.missing, pairing.extra)
    parts = _score_parts(scorer, info, report, workers=workers)
    if report.problems and not incomplete:
        raise DataError(
            f"{len(report.problems)} of {len(pairing.pairs)} masks cannot be scored (--incomplete scores the others): "
            f"{next(iter(report.problems.values()))}"
        )
    report.images -= len(report.problems)
    if not report.images:
        raise DataError(f"None of the masks can be scored: {next(iter(report.problems.values()))}")
    merge_records(parts, record)
    for part in parts:
        _notes_path(part).unlink()
    return report


def _file(classes: str | Path) -> list[Path]:
    return [Path(classes)] if Path(classes).is_file() else []


def _fingerprint(pairs: Sequence[MaskPair], settings: Sequence[str]) -> str:
    """A digest that changes with every file and setting that the rows depend on."""
    digest = sha256(json.dumps(settings).encode())
    for pair in pairs:
        for path in (pair.truth, pair.mask):
            state = path.stat()
            digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _notes_path(part: Path) -> Path:
    """Where the problems of a part are stored."""
    return part.with_suffix(".json")


def _score_parts(scorer: PairScorer, info: RecordInfo, report: ScoreReport, *, workers: int) -> list[Path]:
    """Score all pairs in parts that survive an interruption; parts of an earlier, equal run are kept."""
    starts = range(0, len(scorer), IMAGES_PER_PART)
    parts = {start: part_path(report.record, number) for number, start in enumerate(starts)}
    unfinished = {start: part for start, part in parts.items() if not _is_finished(part, info)}
    indices = [index for start in unfinished for index in range(start, min(start + IMAGES_PER_PART, len(scorer)))]
    console = Console(stderr=True)
    scores = track(
        _score_all(scorer, indices, workers=workers),
        f"scoring {info.extra['run']}",
        total=len(indices),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    results = iter(scores)
    for start, part in unfinished.items():
        _write_part(part, info, results, min(IMAGES_PER_PART, len(scorer) - start))
    next(results, None)  # lets the progress bar end
    for part in parts.values():
        notes = json.loads(_notes_path(part).read_text(encoding="utf-8"))
        report.problems |= notes["problems"]
        report.resized += notes["resized"]
    return list(parts.values())


def _write_part(part: Path, info: RecordInfo, scores: Iterator[PairScore], count: int) -> None:
    problems, resized = {}, 0
    with RecordWriter(part, info) as writer:
        for _ in range(count):
            score = next(scores)
            resized += score.resized
            if score.rows is None:
                problems[score.pair.name] = score.problem
            else:
                writer.write_packed(score.rows)
        with atomic_write(_notes_path(part)) as temporary:  # before the part is complete
            temporary.write_text(json.dumps({"problems": problems, "resized": resized}), encoding="utf-8")


def _is_finished(part: Path, info: RecordInfo) -> bool:
    try:
        return _notes_path(part).is_file() and read_record(part, columns=["image"]).info == info
    except (RecordError, OSError):
        return False


def _score_all(scorer: PairScorer, indices: Sequence[int], *, workers: int) -> Iterator[PairScore]:
    """The scores of pairs in the order of the indices."""
    try:
        yield from DataLoader(
            scorer,  # type: ignore[arg-type]  # any sequence will do
            batch_size=None,
            sampler=indices,
            num_workers=workers,
            worker_init_fn=start_worker,
            generator=torch.Generator(),
        )
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise RuntimeError("A reading process was killed (often: out of memory); use fewer --workers.") from error
