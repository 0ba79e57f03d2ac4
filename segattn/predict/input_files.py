"""Find the images and videos to predict, and name their results. No torch."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from segattn.io.image_listing import SkippedFiles, list_images
from segattn.predict.manifest import is_results
from segattn.predict.sources import Sources


def find_inputs(
    paths: Sequence[str | Path], output: Path, skipped: SkippedFiles | None = None
) -> tuple[Sources, dict[str, str]]:
    """Find images and videos.

    Args:
        paths: folders (searched for images with their subfolders), files, glob patterns, and lists of paths: text files
            (``.txt``, or any file after an ``@``) with one path per line.
        output: the folder of the results. Subfolders that contain results of a prediction are not searched.
        skipped: collects the other files of the folders.

    Returns:
        The files to predict, and reasons by name for paths that do not exist or cannot be read.

    Raises:
        FileNotFoundError: if there are no images.
        ValueError: if a mask would overwrite an image, or the output is one of the folders of images.
    """
    skipped = SkippedFiles() if skipped is None else skipped
    search = _Search(output, skipped)
    for path in paths:
        search.add(str(path))
    if not search.roots:
        results = dict.fromkeys(search.results, "folders of results are searched only if they are named")
        found = [f"{path}: {reason}" for path, reason in (search.problems | results).items()]
        reasons = "; ".join([*found, *([str(skipped)] if skipped.count else [])])
        raise FileNotFoundError(f"There are no images in {', '.join(map(str, paths))}{reasons and f' ({reasons})'}.")
    base = os.path.commonpath(set(search.roots.values()))
    names = sorted(_relative(path, base) for path in search.roots)
    problems = {_relative(path, base): reason for path, reason in search.problems.items()}
    del search  # there may be millions of paths
    sources = Sources(base, names, names_with_equal_stems(names))
    _require_separate_output(sources, output)
    return sources, problems


def names_with_equal_stems(names: Sequence[str]) -> set[str]:
    """Names that keep their extensions because others have the same stem, such as ``a.jpg`` and ``a.png``."""
    complete: set[str] = set()
    while True:
        stem = Sources("", names, complete).stem
        counts = Counter(map(stem, names))
        clashing = {name for name in names if counts[stem(name)] > 1} - complete
        if not clashing:
            return complete
        complete |= clashing


class _Search:
    """Collects files, each with the folder from which it was found, and the problems of paths."""

    def __init__(self, output: Path, skipped: SkippedFiles) -> None:
        self.output = output.resolve()
        self.skipped = skipped
        self.roots: dict[str, str] = {}
        self.problems: dict[str, str] = {}
        self.results: list[str] = []

    def add(self, name: str, *, root: str | None = None) -> None:
        """Add the files of an argument or of a line of a list. Paths are text, because there may be millions."""
        path = os.path.abspath(name)
        if os.path.isdir(path):
            if Path(path).resolve() == self.output:
                raise ValueError(
                    f"The output {self.output} is a folder of images, and the next prediction would take the masks for "
                    "images: choose another output, such as a new subfolder."
                )
            images = list_images(
                path, skip_folder=self._is_results, on_error=self._add_unreadable_folder, skipped=self.skipped
            )
            for found in images:
                self.roots.setdefault(found, root or path)
        elif os.path.lexists(path):
            if path.lower().endswith(".txt"):
                self._add_list(path)
            else:
                self.roots.setdefault(path, root or os.path.dirname(path))
        elif name.startswith("@"):
            self._add_list(os.path.abspath(name[1:]))
        elif glob.has_magic(name):
            self._add_pattern(name)
        else:
            self.problems[path] = "there is no such file or folder"

    def _add_list(self, path: str) -> None:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            self.problems[path] = f"the list cannot be read: {getattr(error, 'strerror', None) or error}"
            return
        for line in filter(None, map(str.strip, lines)):
            beside = os.path.join(os.path.dirname(path), line)
            self.add(beside if not os.path.exists(line) and os.path.exists(beside) else line)

    def _add_pattern(self, pattern: str) -> None:
        matches = sorted(glob.glob(pattern, recursive=True))  # unlike Path.glob, it skips hidden files
        if not matches:
            self.problems[os.path.abspath(pattern)] = "no file matches this pattern"
        fixed = re.split(r"[*?[]", pattern, maxsplit=1)[0]
        for match in matches:
            self.add(match, root=os.path.abspath(os.path.dirname(fixed)))  # "a/b" for "a/b/*.jpg"

    def _is_results(self, folder: str) -> bool:
        found = Path(folder).resolve() == self.output or is_results(Path(folder))
        if found:
            self.results.append(folder)
        return found

    def _add_unreadable_folder(self, error: OSError) -> None:
        if os.path.exists(error.filename):
            self.problems[error.filename] = f"the folder cannot be read: {error.strerror}"


def _relative(path: str, base: str) -> str:
    prefix = os.path.join(base, "")
    below = path[len(prefix) :] if path.startswith(prefix) else os.path.relpath(path, base)
    return below.replace(os.sep, "/")


def _require_separate_output(sources: Sources, output: Path) -> None:
    """Check that no mask is one of the inputs, also through symbolic links."""
    real_folder = cache(os.path.realpath)

    def real_path(path: str) -> str:
        if os.path.islink(path):
            return os.path.realpath(path)  # unlike Path.resolve, it tolerates symlink loops
        folder, name = os.path.split(path)
        return f"{real_folder(folder)}/{name}"

    def masks() -> Iterator[tuple[str, str]]:
        return ((name, real_path(f"{output}/{sources.stem(name)}.png")) for name in sources.names)

    folders = {os.path.dirname(mask) for _, mask in masks()}
    paths = map(real_path, map(sources.path, sources.names))
    inputs = {path for path in paths if os.path.dirname(path) in folders}
    for name, mask in masks() if inputs else ():
        if mask in inputs:
            raise ValueError(
                f"The mask of {sources.path(name)} would overwrite an image: choose another output than {output}."
            )
