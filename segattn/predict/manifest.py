"""The manifest of a folder of results: what it was predicted with, and a row for every finished image. No torch."""

import heapq
import json
import os
import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from segattn.io.atomic_write import atomic_write
from segattn.predict.sources import Sources

MANIFEST = "manifest.jsonl"

Row = dict[str, Any]
"""An image as plain data: its ``image`` name, and its ``files``, or the ``reason`` why there are none."""


class Manifest:
    """A JSON Lines file: the first line describes the run, every other line an image.

    A row is appended once all files of its image are complete, so that a run that was killed can be resumed. Processes
    other than the first append to separate files, which begin with the same line and are merged at the end. Rows are
    read one after the other, because there may be millions.

    Args:
        folder: folder of the results.
        run: description of the run with the keys ``segattn`` (first), ``checkpoint`` and ``fingerprint``. Results are
            valid for one fingerprint.
        rank: number of the process; methods other than :meth:`appending` and :meth:`require_shared_folder` are for
            the first.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], *, rank: int = 0) -> None:
        self.folder = folder
        self.run = run
        self.rank = rank
        self.path = folder / MANIFEST
        self.reset_reason: str | None = None
        """Why :meth:`start` kept nothing of an earlier run that was to be resumed."""
        self._own = self._part(rank) if rank else self.path

    def start(
        self, sources: Sources, *, resume: bool, overwrite: bool, processes: int = 1
    ) -> Bool[np.ndarray, " sources"]:
        """Begin the manifest of a new run.

        Args:
            sources: what will be predicted.
            resume: keep the rows of an earlier run with the same fingerprint whose images and files are unchanged, also
                of images that are not among the sources.
            overwrite: allow replacing results of another checkpoint, and files that were not predicted.
            processes: number of processes.

        Returns:
            Which sources are finished.

        Raises:
            ValueError: if the folder contains results of another checkpoint, or files that were not predicted.
        """
        earlier = _description(self.path)
        if not overwrite:
            self._require_own_results(earlier, sources)
        valid = resume and earlier is not None and earlier["fingerprint"] == self.run["fingerprint"]
        if resume and earlier is not None and not valid:
            self.reset_reason = f"it was predicted with other settings ({self._changes(earlier)})"
        if not valid:
            self._remove_parts()
        finished = np.zeros(len(sources), bool)
        like_temporary: set[str] = set()
        with atomic_write(self.path) as draft, draft.open("wb") as file:
            file.write(_line(self.run))
            for _, row in self._positions() if valid else ():
                if self._is_complete(row, sources):
                    file.write(_line(row))
                    index = sources.index(row["image"])
                    if index is not None:
                        finished[index] = True
                    like_temporary.update(name for name in row["files"] if "partial-" in name)
        self._remove_parts()
        if earlier is not None:
            self._remove_temporary_files(like_temporary)
        for rank in range(1, processes):
            self._part(rank).write_bytes(_line(self.run))
        return finished

    def require_shared_folder(self) -> None:
        """Check that this process sees what the first one has written.

        Raises:
            ValueError: if it does not.
        """
        if not self._own.exists():
            raise ValueError(f"{self._own} is missing: all machines must see the same folder of results.")

    @contextmanager
    def appending(self) -> Iterator[Callable[[Row], None]]:
        """Append rows of images. Each of them is in the file when the function returns."""
        with self._own.open("ab") as file:

            def add(row: Row) -> None:
                file.write(_line(row))
                file.flush()

            yield add

    def finish(self, sources: Sources) -> None:
        """Merge the rows of all processes, sorted by name of the image; the last one of a name counts."""
        paths = self._paths()
        known = array("q", [-1]) * len(sources)  # position in the files by index of the source
        others: dict[str, int] = {}
        for (number, offset), row in self._positions():
            index = sources.index(row["image"])
            position = offset * len(paths) + number
            if index is None:
                others[row["image"]] = position
            else:
                known[index] = position
        found = ((name, position) for name, position in zip(sources.names, known, strict=True) if position >= 0)
        with atomic_write(self.path) as draft, draft.open("wb") as merged, ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in paths]
            merged.write(_line(self.run))
            for _, position in heapq.merge(found, sorted(others.items())):
                offset, number = divmod(position, len(paths))
                files[number].seek(offset)
                merged.write(files[number].readline())
        self._remove_parts()

    def rows(self) -> Iterator[Row]:
        """The rows of all processes."""
        return (row for _, row in self._positions())

    def _positions(self) -> Iterator[tuple[tuple[int, int], Row]]:
        """All rows, each with the number of its file and its offset, up to the first line of a file that is damaged."""
        for number, path in enumerate(self._paths()):
            offset = 0
            for line, row in _read_lines(path):
                if offset == 0 and row.get("fingerprint") != self.run["fingerprint"]:
                    break
                if offset:
                    yield (number, offset), row
                offset += len(line)

    def _part(self, rank: int) -> Path:
        return self.folder / f"manifest-{rank}.jsonl"

    def _paths(self) -> list[Path]:
        return [self.path, *sorted(self.folder.glob("manifest-*.jsonl"))]

    def _remove_parts(self) -> None:
        for path in self._paths()[1:]:
            path.unlink()

    def _require_own_results(self, earlier: Mapping[str, Any] | None, sources: Sources) -> None:
        if earlier is None:
            masks = (f"{self.folder}/{sources.stem(name)}.png" for name in sources.names)
            found = next(filter(os.path.exists, masks), None)
            if found:
                raise ValueError(
                    f"{found} exists and was not predicted by segattn: choose another output, or replace "
                    "it with --overwrite."
                )
        elif earlier["checkpoint"]["sha256"] != self.run["checkpoint"]["sha256"]:
            raise ValueError(
                f"{self.folder} contains results of another checkpoint ({earlier['checkpoint']['path']}): choose "
                "another output, or replace them with --overwrite."
            )

    def _changes(self, earlier: Mapping[str, Any]) -> str:
        """What an earlier run did differently: ``overlay was true and is now false``, once for each name."""
        run = json.loads(json.dumps(self.run))
        pairs = [
            (name, earlier.get(part, {}).get(name), value)
            for part in ("checkpoint", "options", "inference")
            for name, value in run[part].items()
            if name not in ("path", "version")
        ]
        changes = {
            name: f"{name} was {json.dumps(old)} and is now {json.dumps(new)}" for name, old, new in pairs if old != new
        }
        return ", ".join(changes.values())

    def _is_complete(self, row: Row, sources: Sources) -> bool:
        """Whether all files of a row exist with their sizes, and its image is the same file as before."""
        try:
            is_source = sources.index(row["image"]) is not None
            unchanged = (
                not (is_source and sources.path(row["image"]) != row["path"])
                and file_state(row["path"]) == row["state"]
            )
            return unchanged and all(
                os.stat(f"{self.folder}/{name}").st_size == size  # noqa: PTH116  # faster than through a Path
                for name, size in row["files"].items()
            )
        except (OSError, KeyError, TypeError, AttributeError, ValueError):  # a file is missing, or the row is damaged
            return False

    def _remove_temporary_files(self, kept: set[str]) -> None:
        """Remove the temporary files of a run that was killed, except results with such a name."""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = Path(folder, name) if re.match(r"partial-\d+-.", name) else None
                if path and path.relative_to(self.folder).as_posix() not in kept:
                    path.unlink()


def file_state(path: Path | str) -> list[int]:
    """Size in bytes and modification time in nanoseconds of a file, which change when the file does."""
    status = os.stat(path)  # noqa: PTH116  # of text, because there may be many files
    return [status.st_size, status.st_mtime_ns]


def is_results(folder: Path) -> bool:
    """Whether a folder contains results of a prediction, finished or not."""
    try:
        with (folder / MANIFEST).open(encoding="utf-8") as file:
            return file.read(64).startswith('{"segattn":')
    except (OSError, UnicodeDecodeError):
        return False


def _description(path: Path) -> dict[str, Any] | None:
    """The first line of a manifest, if there is one."""
    _, line = next(_read_lines(path), (b"", {}))
    return line if "fingerprint" in line else None


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _read_lines(path: Path) -> Iterator[tuple[bytes, Row]]:
    """Read the lines of a manifest up to the first one that is damaged, such as a last line that is cut off."""
    try:
        with path.open("rb") as file:
            for line in file:
                row = json.loads(line)
                if not isinstance(row, dict):
                    return
                yield line, row
    except (OSError, ValueError):
        return
