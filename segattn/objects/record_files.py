"""The object record: one row per object and per free-standing false positive of an evaluated set of images.

It is written as Parquet while images are evaluated and read back into pandas. Summing ``tp``, ``fp`` and ``fn`` over
the rows of a class gives its confusion counts back exactly. The definition is in ``docs/object_size.md``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segattn.objects.record_format import COLUMNS, RecordError, RecordInfo

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "ObjectRecord",
    "RecordError",
    "RecordInfo",
    "RecordWriter",
    "merge_records",
    "part_path",
    "read_confusions",
    "read_record",
]

ROWS_PER_GROUP = 1 << 16
"""Rows kept in memory before they are written."""


class ObjectRecord(NamedTuple):
    """A record in memory.

    Attributes:
        rows: one row per object and free-standing false positive, with the columns of :data:`COLUMNS`.
        info: what they have in common.
    """

    rows: "pd.DataFrame"
    info: RecordInfo


class RecordWriter:
    """Writes a record image by image, under a temporary name until it is complete.

    Under several processes each writes a file of its own (:func:`part_path`), and one of them merges those afterwards
    (:func:`merge_records`).

    Args:
        path: the file to write; its folder is created, an older file of this name is replaced in the end.
        info: what all rows have in common.
    """

    def __init__(self, path: Path, info: RecordInfo) -> None:
        self.path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._schema = _schema(info)
        self._waiting: list[pa.RecordBatch] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = pq.ParquetWriter(self._partial, self._schema, compression="zstd")

    def write(self, rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append the rows of an image.

        Args:
            rows: columns of equal length, as :func:`segattn.metrics.functional.object_rows` returns them.
        """
        columns = [pa.array(rows[name], type=kind) for name, (kind, _) in COLUMNS.items()]
        self._append(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._flush()
        self._file.close()
        self._partial.replace(self.path)

    def discard(self) -> None:
        """Remove what has been written."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _append(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        if sum(batch.num_rows for batch in self._waiting) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.Table.from_batches(self._waiting, schema=self._schema))
            self._waiting = []


def read_record(path: str | Path, columns: Sequence[str] | None = None) -> ObjectRecord:
    """Read a record into pandas.

    Args:
        path: the file.
        columns: names of those to read; None reads all of :data:`COLUMNS`.

    Raises:
        RecordError: if the file is not Parquet, or was not written as an object record.
        FileNotFoundError: if there is no such file.
    """
    file = _open(Path(path))
    return ObjectRecord(file.read(None if columns is None else list(columns)).to_pandas(), _info(Path(path), file))


def read_confusions(path: str | Path) -> "pd.DataFrame":
    """What every row was confused with, as one line per row and other class.

    Returns:
        The columns ``row`` (position in the record), ``other`` (class) and ``px``.

    Raises:
        RecordError: if the file is not Parquet, or was not written as an object record.
        FileNotFoundError: if there is no such file.
    """
    table = _open(Path(path)).read(["confused_class", "confused_px"]).combine_chunks()
    classes, pixels = (
        pa.concat_arrays(table[name].chunks or [pa.array([], COLUMNS[name][0])]) for name in table.column_names
    )
    columns = {
        "row": pc.list_parent_indices(classes),
        "other": pc.list_flatten(classes),
        "px": pc.list_flatten(pixels),
    }
    return pa.table(columns).to_pandas()


def part_path(path: Path, rank: int) -> Path:
    """Where process ``rank`` of several writes its part of the record at ``path``."""
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def merge_records(parts: Sequence[Path], path: Path) -> None:
    """Join the parts of a record, in their order, and remove them.

    Raises:
        RecordError: if a part is no record, or the parts differ in what all rows should have in common.
    """
    files = [_open(part) for part in parts]
    infos = [_info(part, file) for part, file in zip(parts, files, strict=True)]
    for part, info in zip(parts, infos, strict=True):
        if info != infos[0]:
            raise RecordError(f"{part} and {parts[0]} are parts of different records.")
    with RecordWriter(path, infos[0]) as writer:
        for file in files:
            for batch in file.iter_batches(ROWS_PER_GROUP):
                writer._append(batch.select(list(COLUMNS)))
    for part in parts:
        part.unlink()


def _schema(info: RecordInfo) -> pa.Schema:
    fields = [pa.field(name, kind, metadata={"description": text}) for name, (kind, text) in COLUMNS.items()]
    return pa.schema(fields, metadata=info.to_metadata())


def _open(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise FileNotFoundError(f"There is no object record at {path}.")
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise RecordError(f"{path} is not an object record: it is no complete Parquet file.") from error
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing == ["confused_class", "confused_px"]:
        raise RecordError(f"{path} is an object record of an earlier version: write it again with segattn validate.")
    if missing:
        raise RecordError(f"{path} is not an object record: it has no column {', '.join(missing)}.")
    return file


def _info(path: Path, file: pq.ParquetFile) -> RecordInfo:
    metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
    try:
        return RecordInfo.from_metadata(metadata)
    except KeyError as error:
        raise RecordError(f"{path} is not an object record: its metadata has no {error}.") from error
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
