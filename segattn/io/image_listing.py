"""Finding image files below a folder."""

import os
from collections.abc import Callable
from pathlib import Path

from segattn.io.image_files import IMAGE_SUFFIXES


def list_images(
    folder: Path | str,
    *,
    skip_folder: Callable[[str], bool] | None = None,
    on_error: Callable[[OSError], None] | None = None,
) -> list[str]:
    """List all image files below a folder, sorted by path component.

    Hidden files and folders are skipped. Symbolic links are followed, except a link to a folder that contains it.

    Args:
        folder: where to search. A missing folder contains no images.
        skip_folder: called with the path of every subfolder; those for which it returns True are not searched.
        on_error: called for every folder that cannot be read, with the folder in ``filename``; such folders are
            skipped.

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
        images = (name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
        found += (os.path.join(directory, name) for name in images)  # noqa: PTH118
    found.sort(key=lambda path: path.replace(os.sep, "\0"))  # no file name contains a smaller character
    return found
