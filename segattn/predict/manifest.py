"""What a run leaves beside its results: the manifest, the classes, and only whole files. No torch."""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
CLASSES = "classes.json"
WORK = ".segattn"
"""Folder inside the output while a run is under way: its journal, and files that are not whole yet."""


class OutputFolder:
    """The folder of a run's results.

    Every result is written under a temporary name and then renamed, and every finished image is noted in a journal,
    so that a run that is stopped at any moment can go on.

    Args:
        path: of the folder; made where it does not exist.
        run: what the results are valid for: checkpoint and options, as plain data with the keys ``checkpoint`` and
            ``fingerprint``.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        self.run = run
        self._journal = path / WORK / "journal.jsonl"
        self._numbers = itertools.count()

    def open(
        self, sources: Mapping[str, tuple[Path, str]], *, resume: bool, overwrite: bool
    ) -> dict[str, dict[str, Any]]:
        """Make the folder ready, and find what is done already.

        Args:
            sources: by name of an image, its file and the name of its mask.
            resume: keep what is done and valid for the same checkpoint and options.
            overwrite: allow replacing results of another checkpoint, and masks that no run wrote.

        Returns:
            Rows by image name of what an earlier run finished, if its files are still as they were.

        Raises:
            ValueError: if the folder belongs to another checkpoint, or holds files that no run wrote.
        """
        earlier, rows = self._earlier()
        if not overwrite:
            self._refuse_foreign(earlier, [mask for _, mask in sources.values()])
        keep = resume and earlier is not None and earlier["fingerprint"] == self.run["fingerprint"]
        for name, (path, _) in sources.items():
            if name in rows and rows[name]["path"] != str(path):  # another image of the same name
                del rows[name]
        done = {name: row for name, row in rows.items() if keep and self._is_whole(row)}
        shutil.rmtree(self.path / WORK, ignore_errors=True)
        (self.path / WORK).mkdir(parents=True)
        (self.path / MANIFEST).unlink(missing_ok=True)
        self._append({"run": dict(self.run)})
        for row in done.values():
            self._append(row)
        return done

    def add(self, row: Mapping[str, Any]) -> None:
        """Note a finished image."""
        self._append(row)

    def close(self, rows: Mapping[str, Mapping[str, Any]]) -> Path:
        """Write the manifest, sorted by image, and remove what was needed on the way."""
        images = [rows[name] for name in sorted(rows)]
        content = {**self.run, "images": images}
        path = self.write(MANIFEST, lambda file: file.write_text(json.dumps(content, indent=1), encoding="utf-8"))
        shutil.rmtree(self.path / WORK)
        return path

    def write(self, name: str, write: Callable[[Path], Any]) -> Path:
        """Write a whole file or none.

        Args:
            name: path inside the folder.
            write: writes the file to the path that it is given.
        """
        path = self.path / name
        temporary = self.path / WORK / f"{next(self._numbers)}{path.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            return temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _append(self, row: Mapping[str, Any]) -> None:
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(row) + "\n")

    def _earlier(self) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]]]:
        """The run that wrote into the folder last, if any, and its rows by image name."""
        try:
            if self._journal.is_file():
                run, *rows = _whole_lines(self._journal)
                run = run["run"]
            else:
                run = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
                rows = run.pop("images")
            return run, {row["image"]: row for row in rows if "reason" not in row}
        except (OSError, ValueError, KeyError, TypeError):
            return None, {}

    def _refuse_foreign(self, earlier: Mapping[str, Any] | None, masks: Sequence[str]) -> None:
        if earlier is None:
            found = next((name for name in masks if (self.path / name).exists()), None)
            if found:
                raise ValueError(
                    f"{self.path / found} exists and was written by no prediction: choose another output, or allow "
                    f"replacing it with --overwrite."
                )
        elif earlier["checkpoint"]["sha256"] != self.run["checkpoint"]["sha256"]:
            raise ValueError(
                f"{self.path} holds the results of another checkpoint ({earlier['checkpoint']['path']}): choose "
                f"another output, or allow replacing them with --overwrite."
            )

    def _is_whole(self, row: Mapping[str, Any]) -> bool:
        """Whether all files of a row are as they were written, and not older than their image."""
        try:
            written = {self.path / name: digest for name, digest in row["files"].items()}
            source = Path(row["path"]).stat().st_mtime_ns
            return all(
                file_digest(path) == digest and path.stat().st_mtime_ns >= source for path, digest in written.items()
            )
        except (OSError, KeyError):
            return False


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_results(folder: Path) -> bool:
    """Whether a folder holds the results of a run, finished or not."""
    if (folder / WORK).is_dir():
        return True
    try:
        with (folder / MANIFEST).open(encoding="utf-8") as file:
            return '"segattn":' in file.read(64)
    except (OSError, UnicodeDecodeError):
        return False


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a journal, of which the last line may have been cut short."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
