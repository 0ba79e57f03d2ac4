"""Scoring in parts: files with the rows of some images each, which survive an interruption."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from segattn.data.workers import keep_freed_memory, start_worker
from segattn.io.atomic_write import atomic_write
from segattn.objects import RecordError, RecordInfo, RecordWriter, read_record
from segattn.score.mask_pairs import MaskPair
from segattn.score.pair_scoring import PairScore, PairScorer

IMAGES_PER_PART = 50
"""Images after which an interrupted run can continue. It does not depend on the number of processes."""


@dataclass(frozen=True)
class Part:
    """The pairs whose rows go into one file."""

    path: Path
    pairs: Sequence[MaskPair]

    def is_finished(self, info: RecordInfo) -> bool:
        """Whether an earlier run finished this part with the same files and arguments."""
        try:
            return self._notes_path.is_file() and read_record(self.path, columns=["image"]).info == info
        except (RecordError, OSError):
            return False

    def notes(self) -> dict[str, Any]:
        """``problems`` (reason by name of the pair) and ``resized`` (number of masks) of a finished part."""
        notes: dict[str, Any] = json.loads(self._notes_path.read_text(encoding="utf-8"))
        return notes

    def write(self, info: RecordInfo, scores: Iterator[PairScore]) -> None:
        """Write the rows of the next scores, as many as the part has pairs."""
        problems, resized = {}, 0
        with RecordWriter(self.path, info) as writer:
            for _ in self.pairs:
                score = next(scores)
                resized += score.resized
                if score.rows is None:
                    problems[score.pair.name] = score.problem
                else:
                    writer.write_packed(score.rows)
            with atomic_write(self._notes_path) as temporary:  # before the part is complete
                temporary.write_text(json.dumps({"problems": problems, "resized": resized}), encoding="utf-8")

    @property
    def _notes_path(self) -> Path:
        return self.path.with_suffix(".json")


def divide_pairs(pairs: Sequence[MaskPair], folder: Path) -> list[Part]:
    """The parts of a record, with files in a folder."""
    starts = range(0, len(pairs), IMAGES_PER_PART)
    return [Part(folder / f"{start}.parquet", pairs[start : start + IMAGES_PER_PART]) for start in starts]


def score_parts(
    parts: Sequence[Part], info: RecordInfo, scorer: PairScorer, *, workers: int, progress: bool = True
) -> None:
    """Score parts and write them.

    Args:
        parts: parts to write.
        info: properties of the record.
        scorer: scorer of the pairs of all parts, one part after the other.
        workers: number of reading processes; 0 reads in this process.
        progress: show a progress bar in a terminal.
    """
    console = Console(stderr=True)
    scores = track(
        _score_all(scorer, workers),
        f"scoring {info.extra['run']}",
        total=len(scorer),
        console=console,
        transient=True,
        disable=not (progress and console.is_terminal),
    )
    results = iter(scores)
    for part in parts:
        part.write(info, results)
    next(results, None)  # lets the progress bar end


def _score_all(scorer: PairScorer, workers: int) -> Iterator[PairScore]:
    """The scores of all pairs in their order."""
    try:
        yield from DataLoader(
            scorer,  # type: ignore[arg-type]  # any sequence will do
            batch_size=None,
            num_workers=workers,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),
        )
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise RuntimeError("A reading process was killed (often: out of memory); use fewer --workers.") from error


def _start_worker(worker: int) -> None:
    start_worker(worker)
    keep_freed_memory()
