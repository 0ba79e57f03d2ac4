"""Fetching and unpacking the archives of public data sets, and checking what came out."""

import hashlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from segattn.data.dataset import SegmentationDataset
from segattn.data.errors import DataError, DataNotFoundError, DownloadError

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60


def download(url: str, target: Path, *, digest: str | None = None) -> None:
    """Fetch a file, going on where an earlier try ended; what has come so far lies beside it, as ``NAME.part``.

    Args:
        url: where from, http or https.
        target: the file to be written; it appears only when it is whole.
        digest: what its content must hash to, as ``sha1:...`` or another algorithm of :mod:`hashlib`.

    Raises:
        DownloadError: if the address cannot be reached, the connection ends early, or the content is another one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            if response.status != 206:  # the server starts from the beginning
                have = 0
            total = _append(response, part, have)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing lies beyond what is there
            raise DownloadError(f"{url} answered {error.code} {error.reason}; check the address.") from error
        total = _total_size(error.headers.get("Content-Range"), have)
        error.close()
    except (OSError, HTTPException) as error:
        raise DownloadError(f"{url} could not be fetched ({error}); run the command again to go on.") from error
    _check(part, url, total, digest)
    part.replace(target)


def _append(response: HTTPResponse, part: Path, have: int) -> int | None:
    """Write a response's content behind the first bytes of a file; returns how many bytes there should be in all."""
    total = _total_size(response.headers.get("Content-Range"), None)
    length = response.headers.get("Content-Length")
    if total is None and length is not None:
        total = have + int(length)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with part.open("r+b" if have else "wb") as file, Progress(*columns) as progress:
        file.seek(have)
        file.truncate()
        task = progress.add_task(part.stem, total=total, completed=have)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            progress.update(task, advance=len(chunk))
    return total


def _total_size(content_range: str | None, default: int | None) -> int | None:
    """The size of the whole file from a header such as ``bytes 5-9/10``."""
    size = (content_range or "").rpartition("/")[2]
    return int(size) if size.isdigit() else default


def _check(part: Path, url: str, total: int | None, digest: str | None) -> None:
    """Refuse a file of another size or content; one that is only too short stays, to be gone on with."""
    size = part.stat().st_size
    if total is not None and size < total:
        raise DownloadError(f"{url} ended after {size} of {total} bytes; run the command again to go on.")
    found = digest
    if digest is not None:
        algorithm = digest.partition(":")[0]
        with part.open("rb") as file:
            found = f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
    if (total is not None and size > total) or found != digest:
        part.unlink()
        raise DownloadError(
            f"{url} is not the expected file: {size} bytes instead of {total}, digest {found} instead of {digest}; "
            "what was fetched is removed."
        )


def extract(archive: Path, folder: Path, *, member: str) -> None:
    """Unpack one top folder of a zip or tar archive; it appears only when all of it is there.

    Args:
        archive: the file.
        folder: where the top folder goes.
        member: the name of the top folder; it must not exist yet.

    Raises:
        DownloadError: if the file is no archive or damaged, lacks the folder, or would write outside of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{member}-", dir=folder))
    try:
        _unpack(archive, draft)
        if not (draft / member).is_dir():
            raise DownloadError(f"The archive {archive} holds no folder {member}.")
        (draft / member).replace(folder / member)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DownloadError(f"{archive} is no whole archive; remove it and run the command again.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _unpack(archive: Path, folder: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            _refuse_escapes(archive, file.namelist())
            file.extractall(folder)
        return
    with tarfile.open(archive) as tar:
        _refuse_escapes(archive, tar.getnames())
        tar.extractall(folder, filter="data")


def _refuse_escapes(archive: Path, names: list[str]) -> None:
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DownloadError(f"The archive {archive} would write outside of its folder: {name}.")


def count_problems(open_split: Callable[[str], SegmentationDataset], expected: Mapping[str, int]) -> list[str]:
    """What is missing in a copy of a data set, one sentence for each part; empty if it is complete.

    Args:
        open_split: opens a split by name.
        expected: how many images each split should have.
    """
    problems = []
    for split, count in expected.items():
        try:
            found = len(open_split(split))
        except (DataNotFoundError, DataError) as error:
            problems.append(str(error))
        else:
            if found != count:
                problems.append(f"The split {split} has {found} images with labels instead of {count}.")
    return problems
