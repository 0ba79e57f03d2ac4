"""Files that are complete or absent: written under another name, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Write a file under a temporary name and rename it at the end of the ``with`` block.

    Args:
        path: path of the file. Its folder is created if needed; a symbolic link is followed. An existing file stays as
            it is until the new one is complete.
        durable: flush the file to the disk before renaming, so that it survives a power failure.

    Yields:
        A path in the same folder, with the same extension, to write to. It is removed if the block fails.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"partial-{os.getpid()}-{target.name}")
    try:
        if target.exists() and not target.is_file():  # renaming would replace a device such as /dev/null
            raise OSError("it is not a regular file")
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            nested = isinstance(error.__cause__, OSError)  # raised by an atomic_write inside this one
            first = error.__cause__ if nested else error
            raise OSError(f"{path} cannot be written: {getattr(first, 'strerror', None) or first}.") from error
        raise
