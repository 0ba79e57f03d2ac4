"""Files that are whole or absent: written under another name, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a whole file or none; what was there before stays until the new file is complete.

    Args:
        path: of the file; its folder is made where it does not exist. Of a link, what it leads to is written.

    Yields:
        A path beside the file, with the same ending, to write to. It is renamed at the end of the ``with`` block, and
        removed if the block fails.

    Raises:
        OSError: in one sentence, if the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"partial-{os.getpid()}-{target.name}")
    try:
        if target.exists() and not target.is_file():  # a device or a folder, which would be replaced
            raise OSError("it is no regular file")
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            first = (
                error.__cause__ if isinstance(error.__cause__, OSError) else error
            )  # of a whole file inside this one
            raise OSError(f"{path} cannot be written: {first.strerror or first}.") from error
        raise
