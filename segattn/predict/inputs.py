"""Finding the images of a run, and the names of their results. No torch."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segattn.io.image_files import IMAGE_SUFFIXES
from segattn.predict.manifest import is_results

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
"""Lower-case endings of files that are read as videos, where they are named (folders are searched for images)."""


@dataclass(frozen=True)
class Source:
    """One file to predict.

    Attributes:
        path: of the file.
        name: relative to the deepest folder that holds everything given, with forward slashes.
        stem: the same without its ending, or with it where two files share the rest: results are named by it.
    """

    path: Path
    name: str
    stem: str

    @property
    def is_video(self) -> bool:
        """Whether it is read as a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


@dataclass
class Found:
    """What the arguments name.

    Attributes:
        sources: files to predict, sorted by name.
        problems: reason by name, for what could not even be listed.
    """

    sources: list[Source] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


def find_sources(paths: Sequence[str | Path], output: Path) -> Found:
    """Find the images and videos that paths name.

    Args:
        paths: folders (searched for images with their sub-folders, links followed), files, glob patterns, and lists:
            text files (``.txt``, or anything after an ``@``) with one path a line.
        output: the folder of the results, which is not searched; nor are other folders of results.

    Raises:
        FileNotFoundError: if nothing is found.
        ValueError: if a result would overwrite an image.
    """
    search = _Search(output)
    for path in paths:
        search.add(str(path))
    if not search.files:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in search.problems.items())
        raise FileNotFoundError(f"There are no images in {', '.join(map(str, paths))}{reasons and f' ({reasons})'}.")
    base = Path(os.path.commonpath(list(search.files.values())))
    names = sorted((_relative(path, base), path) for path in search.files)
    stems = result_stems([name for name, _ in names])
    sources = [Source(path, name, stem) for (name, path), stem in zip(names, stems, strict=True)]
    _refuse_overwriting(sources, output)
    return Found(sources, {_relative(path, base): reason for path, reason in search.problems.items()})


def result_stems(names: Sequence[str]) -> list[str]:
    """Names without their endings; those that would clash keep the ending, so ``a.jpg`` becomes ``a.jpg.png``."""
    whole: set[str] = set()
    while True:
        stems = [name if name in whole else str(Path(name).with_suffix("")) for name in names]
        shared = {stem for stem, count in Counter(stems).items() if count > 1}
        clashing = {name for name, stem in zip(names, stems, strict=True) if stem in shared} - whole
        if not clashing:
            return stems
        whole |= clashing


class _Search:
    """Collects files with the folder that each was found from, and problems by path."""

    def __init__(self, output: Path) -> None:
        self.output = output.resolve()
        self.files: dict[Path, Path] = {}
        self.problems: dict[Path, str] = {}

    def add(self, name: str, *, root: Path | None = None) -> None:
        """Add what one argument, or one line of a list, names."""
        path = _absolute(name)
        if _is_folder(path):
            self._walk(path, root or path, ())
        elif os.path.lexists(path):
            if path.suffix.lower() == ".txt":
                self._read_list(path)
            else:
                self.files.setdefault(path, root or path.parent)
        elif name.startswith("@"):
            self._read_list(_absolute(name[1:]))
        elif glob.has_magic(name):
            self._expand(name)
        else:
            self.problems[path] = "there is no such file or folder"

    def _read_list(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self.problems[path] = f"the list cannot be read: {_reason(error)}"
            return
        for line in filter(None, map(str.strip, lines)):
            beside = path.parent / line
            self.add(str(beside) if beside.exists() and not Path(line).exists() else line)

    def _expand(self, pattern: str) -> None:
        matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  # unlike Path.glob, it skips hidden files
        if not matches:
            self.problems[_absolute(pattern)] = "no file matches this pattern"
        fixed = re.split(r"[*?[]", pattern, maxsplit=1)[0]
        for match in matches:
            self.add(match, root=_absolute(os.path.dirname(fixed)))  # noqa: PTH120  # of "a/b/" it is "a/b"

    def _walk(self, folder: Path, root: Path, parents: tuple[Path, ...]) -> None:
        real = folder.resolve()
        if real in parents or real == self.output or (parents and is_results(folder)):  # a link back, or results
            return
        try:
            names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
        except OSError as error:
            self.problems[folder] = f"the folder cannot be read: {_reason(error)}"
            return
        for path in (folder / name for name in names):
            if _is_folder(path):
                self._walk(path, root, (*parents, real))
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                self.files.setdefault(path, root)


def _absolute(path: str) -> Path:
    return Path(os.path.normpath(Path(path).absolute()))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refuse_overwriting(sources: Sequence[Source], output: Path) -> None:
    inputs = {os.path.realpath(source.path) for source in sources}  # unlike Path.resolve it bears links in a circle
    for source in sources:
        if os.path.realpath(output / f"{source.stem}.png") in inputs:
            raise ValueError(
                f"The mask of {source.path} would overwrite an image: choose another output than {output}."
            )


def batches_of(
    sources: Sequence[Source], sizes: Iterator[tuple[int, int] | None], batch_size: int
) -> Iterator[list[Source]]:
    """Group images of equal size, keeping near to their order; the same images give the same batches every time.

    Args:
        sources: the images.
        sizes: of the images, in the same order; None for those that cannot be read, which stay alone.
        batch_size: images a batch at most.
    """
    waiting: dict[tuple[int, int], list[Source]] = {}
    for source, size in zip(sources, sizes, strict=True):
        if size is None:
            yield [source]
            continue
        batch = waiting.setdefault(size, [])
        batch.append(source)
        if len(batch) == batch_size:
            yield waiting.pop(size)
        elif len(waiting) > 8:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()
