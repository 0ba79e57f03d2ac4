"""Finding image files below a folder."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from segattn.io.image_files import IMAGE_SUFFIXES


@dataclass
class SkippedFiles:
    """Files in searched folders that are not read as images: how many, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, path: str) -> None:
        """Count a file."""
        self.count += 1
        if len(self.first) < 3:
            self.first.append(path)

    def __str__(self) -> str:
        names = ", ".join(self.first) + (", ..." if self.count > len(self.first) else "")
        files = "1 file that is" if self.count == 1 else f"{self.count} files that are"
        return f"skipped {files} hidden or not of an image type: {names}"


def list_images(
    folder: Path | str,
    *,
    skip_folder: Callable[[str], bool] | None = None,
    on_error: Callable[[OSError], None] | None = None,
    skipped: SkippedFiles | None = None,
) -> list[str]:
    """List all image files below a folder, sorted by path component.

    Hidden files and folders are skipped. Symbolic links are followed, except a link to a folder that contains it.

    Args:
        folder: folder to search. A missing folder contains no images.
        skip_folder: called with the path of every subfolder; those for which it returns True are not searched.
        on_error: called for every folder that cannot be read, with the folder in ``filename``; such folders are
            skipped.
        skipped: collects the other files. Hidden ones are included only if they look like images.

    Returns:
        Paths that start with ``folder``, as text: creating a ``Path`` for each would take most of the time.
    """
    top = os.fspath(Path(folder))
    found: list[str] = []
    ancestors: dict[str, frozenset[str]] = {}  # real paths of a folder and of those that contain it, by its path
    for directory, subfolders, names in os.walk(top, onerror=on_error, followlinks=True):
        real, above = os.path.realpath(directory), ancestors.get(os.path.dirname(directory), frozenset())  # noqa: PTH120
        is_skipped = directory != top and skip_folder is not None and skip_folder(directory)
        if real in above or is_skipped:
            subfolders.clear()
            continue
        ancestors[directory] = above | {real}
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            has_suffix, hidden = name.lower().endswith(IMAGE_SUFFIXES), name.startswith(".")
            if has_suffix and not hidden:
                found.append(os.path.join(directory, name))  # noqa: PTH118
            elif skipped is not None and has_suffix is hidden:
                skipped.add(os.path.join(directory, name))  # noqa: PTH118
    found.sort(key=lambda path: path.replace(os.sep, "\0"))  # no file name contains a smaller character
    return found
