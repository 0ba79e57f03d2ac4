"""Files that are whole or absent: written under another name, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a whole file or none; what was there before stays until the new file is complete.

    Args:
        path: of the file; its folder is made where it does not exist.

    Yields:
        A path beside it, with the same ending, to write to. It is renamed at the end of the ``with`` block, and
        removed if the block fails.

    Raises:
        OSError: in one sentence, if the file cannot be written.
    """
    temporary = path.with_name(f"partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            first = (
                error.__cause__ if isinstance(error.__cause__, OSError) else error
            )  # of a whole file inside this one
            raise OSError(f"{path} cannot be written: {first.strerror or first}.") from error
        raise
