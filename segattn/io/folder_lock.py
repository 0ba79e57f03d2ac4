"""A lock on a folder, so that two commands do not write into it at once."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_held: set[int] = set()
"""Descriptors of the locked folders."""


def _let_go() -> None:
    """Close what a forked process has inherited: it could outlive the command, and the lock would stay with it."""
    while _held:
        os.close(_held.pop())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def folder_lock(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a folder, which is created if needed, during the ``with`` block.

    The lock leaves no file and ends with the process, however that ends, even if its workers still run. There is none
    on Windows and on file systems that cannot lock folders.

    Args:
        folder: folder to lock.
        shared: allow other shared locks, for several processes of one command.

    Raises:
        ValueError: if another command holds the lock.
        OSError: if the folder cannot be created.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"The folder {folder} cannot be created: {error.strerror}.") from error
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ValueError(
            f"Another command is writing into {folder}: wait until it ends, or choose another output."
        ) from error
    except OSError:  # the file system has no locks for folders
        pass
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)
