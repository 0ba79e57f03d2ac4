"""Find the images and videos to predict, and name their results. No torch."""

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segattn.io.image_listing import list_images
from segattn.predict.manifest import is_results

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
"""Lower-case extensions of videos. Videos must be named: folders are searched for images only."""


@dataclass(frozen=True)
class Source:
    """An image or video to predict.

    Attributes:
        path: of the file.
        name: path relative to the deepest folder that contains all inputs, with forward slashes.
        stem: name of the results: ``name`` without its extension, unless another input has the same stem.
    """

    path: Path
    name: str
    stem: str

    @property
    def is_video(self) -> bool:
        """Whether the file is read as a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_inputs(paths: Sequence[str | Path], output: Path) -> tuple[list[Source], dict[str, str]]:
    """Find images and videos.

    Args:
        paths: folders (searched for images with their subfolders), files, glob patterns, and lists of paths: text files
            (``.txt``, or any file after an ``@``) with one path per line.
        output: the folder of the results. Subfolders that contain results of a prediction are not searched.

    Returns:
        The files to predict, sorted by name, and reasons by name for paths that do not exist or cannot be read.

    Raises:
        FileNotFoundError: if there are no images.
        ValueError: if a mask would overwrite an image.
    """
    search = _Search(output)
    for path in paths:
        search.add(str(path))
    if not search.roots:
        skipped = dict.fromkeys(search.results, "folders of results are searched only if they are named")
        reasons = "; ".join(f"{path}: {reason}" for path, reason in (search.problems | skipped).items())
        raise FileNotFoundError(f"There are no images in {', '.join(map(str, paths))}{reasons and f' ({reasons})'}.")
    base = Path(os.path.commonpath(list(search.roots.values())))
    named = sorted((_relative(path, base), path) for path in search.roots)
    stems = result_stems([name for name, _ in named])
    sources = [Source(path, name, stem) for (name, path), stem in zip(named, stems, strict=True)]
    _require_separate_output(sources, output)
    return sources, {_relative(path, base): reason for path, reason in search.problems.items()}


def result_stems(names: Sequence[str]) -> list[str]:
    """Remove extensions where that leaves the names unique: ``a.jpg`` and ``a.png`` keep theirs."""
    complete: set[str] = set()
    while True:
        stems = [name if name in complete else str(Path(name).with_suffix("")) for name in names]
        counts = Counter(stems)
        clashing = {name for name, stem in zip(names, stems, strict=True) if counts[stem] > 1} - complete
        if not clashing:
            return stems
        complete |= clashing


class _Search:
    """Collects files, each with the folder from which it was found, and the problems of paths."""

    def __init__(self, output: Path) -> None:
        self.output = output.resolve()
        self.roots: dict[Path, Path] = {}
        self.problems: dict[Path, str] = {}
        self.results: list[Path] = []

    def add(self, name: str, *, root: Path | None = None) -> None:
        """Add the files of an argument or of a line of a list."""
        path = _absolute(name)
        if path.is_dir():
            found = list_images(path, skip_folder=self._is_results, on_error=self._add_unreadable_folder)
            self.roots = dict.fromkeys(map(Path, found), root or path) | self.roots
        elif os.path.lexists(path):
            if path.suffix.lower() == ".txt":
                self._add_list(path)
            else:
                self.roots.setdefault(path, root or path.parent)
        elif name.startswith("@"):
            self._add_list(_absolute(name[1:]))
        elif glob.has_magic(name):
            self._add_pattern(name)
        else:
            self.problems[path] = "there is no such file or folder"

    def _add_list(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self.problems[path] = f"the list cannot be read: {getattr(error, 'strerror', None) or error}"
            return
        for line in filter(None, map(str.strip, lines)):
            beside = path.parent / line
            self.add(str(beside) if beside.exists() and not Path(line).exists() else line)

    def _add_pattern(self, pattern: str) -> None:
        matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # unlike Path.glob, it skips hidden files
        if not matches:
            self.problems[_absolute(pattern)] = "no file matches this pattern"
        fixed = re.split(r"[*?[]", pattern, maxsplit=1)[0]
        for match in matches:
            self.add(match, root=_absolute(os.path.dirname(fixed)))  # noqa: PTH120  # "a/b" for "a/b/*.jpg"

    def _is_results(self, folder: str) -> bool:
        found = Path(folder).resolve() == self.output or is_results(Path(folder))
        if found:
            self.results.append(Path(folder))
        return found

    def _add_unreadable_folder(self, error: OSError) -> None:
        if Path(error.filename).exists():
            self.problems[Path(error.filename)] = f"the folder cannot be read: {error.strerror}"


def _absolute(path: str) -> Path:
    return Path(os.path.normpath(Path(path).absolute()))


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()


def _require_separate_output(sources: Sequence[Source], output: Path) -> None:
    inputs = {os.path.realpath(source.path) for source in sources}  # unlike Path.resolve, it tolerates symlink loops
    for source in sources:
        if os.path.realpath(output / f"{source.stem}.png") in inputs:
            raise ValueError(
                f"The mask of {source.path} would overwrite an image: choose another output than {output}."
            )
