"""The manifest of a folder of results: what it was predicted with, and a row for every finished image. No torch."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from segattn.io.atomic_write import atomic_write

MANIFEST = "manifest.jsonl"

Row = dict[str, Any]
"""An image as plain data: its ``image`` name, and its ``files``, or the ``reason`` why there are none."""


class Manifest:
    """A JSON Lines file: the first line describes the run, every other line an image.

    A row is appended once all files of its image are complete, so that a run that was killed can be resumed.

    Args:
        folder: of the results.
        run: description of the run with the keys ``segattn`` (first), ``checkpoint`` and ``fingerprint``. Results are
            valid for one fingerprint.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder = folder
        self.run = run
        self.path = folder / MANIFEST
        self.reset_reason: str | None = None
        """Why :meth:`start` kept nothing of an earlier run that was to be resumed."""

    def start(self, masks: Iterable[str], *, resume: bool, overwrite: bool) -> dict[str, Row]:
        """Begin the manifest of a new run.

        Args:
            masks: names of the files that will be written.
            resume: keep the rows of an earlier run with the same fingerprint whose images and files are unchanged.
            overwrite: allow replacing results of another checkpoint, and files that were not predicted.

        Returns:
            The rows that are kept, by name of the image.

        Raises:
            ValueError: if the folder contains results of another checkpoint, or files that were not predicted.
        """
        lines = list(_read_lines(self.path))
        earlier, rows = (lines[0], lines[1:]) if lines and "fingerprint" in lines[0] else (None, [])
        if not overwrite:
            self._require_own_results(earlier, masks)
        valid = resume and earlier is not None and earlier["fingerprint"] == self.run["fingerprint"]
        if resume and earlier is not None and not valid:
            self.reset_reason = f"it was predicted with other settings ({self._changes(earlier)})"
        kept = {row["image"]: row for row in rows if valid and self._is_complete(row)}
        if earlier is not None:
            self._remove_partial_files({name for row in kept.values() for name in row["files"]})
        self._write(kept.values())
        return kept

    def add(self, row: Row) -> None:
        """Append the row of an image."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def finish(self, rows: Mapping[str, Row]) -> None:
        """Write the final manifest, with rows sorted by name of the image."""
        self._write(rows[name] for name in sorted(rows))

    def _write(self, rows: Iterable[Row]) -> None:
        with atomic_write(self.path) as draft, draft.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in (self.run, *rows))

    def _require_own_results(self, earlier: Mapping[str, Any] | None, masks: Iterable[str]) -> None:
        if earlier is None:
            found = next((name for name in masks if (self.folder / name).exists()), None)
            if found:
                raise ValueError(
                    f"{self.folder / found} exists and was not predicted by segattn: choose another output, or replace "
                    "it with --overwrite."
                )
        elif earlier["checkpoint"]["sha256"] != self.run["checkpoint"]["sha256"]:
            raise ValueError(
                f"{self.folder} contains results of another checkpoint ({earlier['checkpoint']['path']}): choose "
                "another output, or replace them with --overwrite."
            )

    def _changes(self, earlier: Mapping[str, Any]) -> str:
        """What an earlier run did differently: ``overlay was true and is now false``."""
        run = json.loads(json.dumps(self.run))
        pairs = [
            (name, earlier.get(part, {}).get(name), value)
            for part in ("checkpoint", "options", "inference")
            for name, value in run[part].items()
            if name not in ("path", "version")
        ]
        changes = [
            f"{name} was {json.dumps(old)} and is now {json.dumps(new)}" for name, old, new in pairs if old != new
        ]
        return ", ".join(dict.fromkeys(changes))

    def _is_complete(self, row: Row) -> bool:
        """Whether all files of a row exist with their sizes, and its image is the same file as before."""
        try:
            return file_state(Path(row["path"])) == row["state"] and all(
                (self.folder / name).stat().st_size == size for name, size in row["files"].items()
            )
        except (OSError, KeyError):
            return False

    def _remove_partial_files(self, kept: set[str]) -> None:
        """Remove the temporary files of a run that was killed."""
        for path in self.folder.rglob("partial-*"):
            if re.match(r"partial-\d+-.", path.name) and path.relative_to(self.folder).as_posix() not in kept:
                path.unlink()


def file_state(path: Path) -> list[int]:
    """Size in bytes and modification time in nanoseconds of a file, which change when the file does."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def is_results(folder: Path) -> bool:
    """Whether a folder contains results of a prediction, finished or not."""
    try:
        with (folder / MANIFEST).open(encoding="utf-8") as file:
            return file.read(64).startswith('{"segattn":')
    except (OSError, UnicodeDecodeError):
        return False


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read the lines of a manifest up to the first one that is damaged, such as a last line that is cut off."""
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
    except (OSError, ValueError):
        return
