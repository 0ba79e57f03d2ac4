"""The object record: one row per object and per free-standing false positive of an evaluated data set.

The record is a Parquet file, written image by image. For each class, ``tp``, ``fp`` and ``fn`` summed over the rows
equal the confusion counts exactly. See ``docs/object_size.md`` for the definition.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segattn import __version__
from segattn.io.atomic_write import atomic_write
from segattn.objects.size_bins import ObjectSizes

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "image": (pa.string(), "name of the image"),
    "height": (pa.int32(), "height of the annotation, px"),
    "width": (pa.int32(), "width of the annotation, px"),
    "class_id": (pa.int16(), "index of the class"),
    "class_name": (pa.string(), "name of the class"),
    "kind": (pa.string(), "object, or false_positive (free-standing)"),
    "size_px": (pa.int32(), "area, px"),
    "y0": (pa.int32(), "first row of the box"),
    "x0": (pa.int32(), "first column of the box"),
    "y1": (pa.int32(), "row after the box"),
    "x1": (pa.int32(), "column after the box"),
    "tp": (pa.int32(), "true positives, px"),
    "fp": (pa.int32(), "false positives, px"),
    "fn": (pa.int32(), "false negatives, px"),
    "fp_boundary": (pa.int32(), "false positives that are boundary errors, px"),
    "fn_boundary": (pa.int32(), "false negatives that are boundary errors, px"),
    "recall": (pa.float64(), "tp / size_px"),
    "iou": (pa.float64(), "tp / (size_px + fp)"),
    "boundary_px": (pa.int32(), "pixels removed by a 3x3 erosion, px"),
    "max_width_px": (pa.float64(), "twice the largest distance to a pixel outside, minus 1, px"),
    "elongation": (pa.float64(), "size_px / max_width_px squared"),
    "touches_border": (pa.bool_(), "whether a pixel lies on the edge of the image"),
    "touches_ignore": (pa.bool_(), "whether a pixel has an ignored pixel among its eight neighbors"),
    "merged": (pa.bool_(), "whether a region with true positives of the object also has true positives of another"),
    "top_confusion": (
        pa.int16(),
        "class predicted on most false negatives of an object, or true on most of a false positive; the lowest if "
        "tied; -1 if none",
    ),
    "confused_class": (
        pa.list_(pa.int16()),
        "classes predicted on the false negatives of an object, or true on a false positive",
    ),
    "confused_px": (pa.list_(pa.int32()), "number of pixels of each confused class, px"),
}
"""Type and meaning of each column, in the order of the file."""

_SCHEMA = pa.schema([pa.field(name, kind, metadata={"description": text}) for name, (kind, text) in COLUMNS.items()])

FORMAT = 3
"""Version of the file layout. Format 2 had neither ``fp_boundary`` nor ``fn_boundary``."""

ROWS_PER_GROUP = 1 << 16
"""Rows to collect in memory before writing them."""

_JSON_KEYS = ("class_names", "edges", "bucket_names", "relative", "min_objects", "things", "format")
_TEXT_KEYS = ("unit", "version")


class RecordError(ValueError):
    """A file is not an object record, or records do not fit together.

    Examples:
        >>> from segattn.objects import RecordError, read_record
        >>> try:
        ...     read_record("photo.jpg")
        ... except RecordError as error:
        ...     print(error)
        photo.jpg is not an object record: it is not a complete Parquet file.
    """


@dataclass(frozen=True)
class RecordInfo:
    """Properties shared by all rows of a record, stored in the metadata of the file.

    Attributes:
        class_names: class names by index.
        edges: areas between the size buckets, in pixels or, if ``relative``, as fractions of the image area.
        bucket_names: one name per bucket, ascending by size.
        relative: whether the edges are relative to the image area.
        unit: what an object is: a connected ``component`` or an annotated ``instance``.
        min_objects: ground-truth objects that a class needs in a bucket to enter the means of the bucket.
        things: indices of the thing classes.
        version: version of this package that wrote the file.
        format: version of the file layout.
        extra: additional keys, such as run, head, data set and split.

    Examples:
        >>> from segattn.objects import read_record
        >>> info = read_record("runs/quickstart/version_0/objects_val.parquet").info
        >>> info.bucket_names, info.unit
        (('small', 'medium', 'large'), 'component')
    """

    class_names: Sequence[str]
    edges: Sequence[int | float]
    bucket_names: Sequence[str]
    relative: bool = False
    unit: str = "component"
    min_objects: int = 1
    things: Sequence[int] = ()
    version: str = __version__
    format: int = FORMAT
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the attributes, and convert sequences to tuples so that records compare equal after reading."""
        if self.format != FORMAT:
            raise ValueError(f"The record has format {self.format}; this version reads format {FORMAT} only.")
        for name in ("class_names", "edges", "bucket_names", "things"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        edges = tuple(map(float, self.edges))
        ObjectSizes(edges, self.relative, tuple(self.bucket_names), self.min_objects)  # validates them
        if not all(isinstance(name, str) for name in self.class_names):
            raise ValueError(f"Class names are text, got {self.class_names}.")
        if not set(self.things) <= set(range(len(self.class_names))):
            raise ValueError(f"Things are indices of the {len(self.class_names)} classes, got {self.things}.")

    def to_metadata(self) -> dict[str, str]:
        """All attributes as text by key. Values that are not text are stored as JSON."""
        own = {key: json.dumps(getattr(self, key)) for key in _JSON_KEYS}
        return dict(self.extra) | own | {key: getattr(self, key) for key in _TEXT_KEYS}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "RecordInfo":
        """The inverse of :meth:`to_metadata`. Raises KeyError if a key is missing."""
        own = {key: _from_json(key, metadata[key]) for key in _JSON_KEYS} | {key: metadata[key] for key in _TEXT_KEYS}
        return cls(**own, extra={key: value for key, value in metadata.items() if key not in own})


class ObjectRecord(NamedTuple):
    """A record in memory: the rows with the columns of :data:`COLUMNS`, and the properties that they share."""

    rows: "pd.DataFrame"
    info: RecordInfo


class RecordWriter:
    """Writes a record image by image. The file appears when it is complete.

    With several processes, each writes its own part (:func:`part_path`); then one merges them (:func:`merge_records`).

    Args:
        path: file to write, replaced if it exists.
        info: properties shared by all rows.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from segattn.metrics.functional import object_rows
        >>> from segattn.objects import RecordInfo, RecordWriter, read_record
        >>> info = RecordInfo(["sky", "car"], edges=[4], bucket_names=["small", "large"])
        >>> mask = np.array([[0, 0, 1, 1], [0, 0, 1, 255]])
        >>> with RecordWriter(Path("record.parquet"), info) as writer:
        ...     writer.write(object_rows(mask, mask, 2, image="a.png", class_names=["sky", "car"]))
        >>> len(read_record("record.parquet").rows)
        2
    """

    def __init__(self, path: Path, info: RecordInfo) -> None:
        self._schema = _SCHEMA.with_metadata(info.to_metadata())
        self._waiting: list[pa.RecordBatch] = []
        self._rows_waiting = 0
        with ExitStack() as stack:
            partial = stack.enter_context(atomic_write(path))
            self._file = stack.enter_context(pq.ParquetWriter(partial, self._schema, compression="zstd"))
            self._files = stack.pop_all()

    def write(self, rows: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append the rows of one image: the columns returned by :func:`segattn.metrics.functional.object_rows`."""
        self.append(_batch(rows))

    def write_packed(self, rows: bytes) -> None:
        """Append the rows of one image that :func:`pack_rows` has packed."""
        self.append(pa.ipc.read_record_batch(pa.py_buffer(rows), _SCHEMA))

    def append(self, batch: pa.RecordBatch) -> None:
        """Append rows that have all columns already."""
        self._waiting.append(batch)
        self._rows_waiting += batch.num_rows
        if self._rows_waiting >= ROWS_PER_GROUP:
            self._flush()

    def close(self, error: BaseException | None = None) -> None:
        """Complete the file or, after an error, remove it."""
        if error is not None:
            self._files.__exit__(type(error), error, error.__traceback__)
            return
        with self._files:
            self._flush()

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.Table.from_batches(self._waiting, schema=self._schema))
            self._waiting, self._rows_waiting = [], 0


def pack_rows(rows: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Pack the rows of one image for :meth:`RecordWriter.write_packed` in another process.

    Examples:
        >>> import numpy as np
        >>> from segattn.metrics.functional import object_rows
        >>> from segattn.objects import pack_rows
        >>> mask = np.array([[0, 0, 1, 1]])
        >>> type(pack_rows(object_rows(mask, mask, 2, image="a.png")))
        <class 'bytes'>
    """
    packed: bytes = _batch(rows).serialize().to_pybytes()
    return packed


def _batch(rows: Mapping[str, npt.NDArray[Any]]) -> pa.RecordBatch:
    columns = [pa.array(_narrow(rows[name], kind), type=kind) for name, (kind, _) in COLUMNS.items()]
    return pa.record_batch(columns, schema=_SCHEMA)


def _narrow(values: npt.NDArray[Any], kind: pa.DataType) -> npt.NDArray[Any]:
    """Convert integers to the width of the column, faster than pyarrow, which refuses those that do not fit."""
    if not pa.types.is_integer(kind):
        return values
    narrow = values.astype(kind.to_pandas_dtype())
    return narrow if np.array_equal(narrow, values) else values


def read_record(path: str | Path, columns: Sequence[str] | None = None) -> ObjectRecord:
    """Read a record into pandas.

    Args:
        path: the file.
        columns: names of the columns to read; None reads all of :data:`COLUMNS`.

    Raises:
        RecordError: if the file is not an object record.
        FileNotFoundError: if the file does not exist.

    Examples:
        >>> from segattn.objects import read_record
        >>> record = read_record("runs/quickstart/version_0/objects_val.parquet", columns=["class_name", "iou"])
        >>> list(record.rows.columns), record.info.edges
        (['class_name', 'iou'], (400, 2000))
    """
    file = _open(Path(path))
    return ObjectRecord(_read(Path(path), file, columns).to_pandas(), _info(Path(path), file))


def read_confusions(path: str | Path) -> "pd.DataFrame":
    """Read the confusions of a record in long form: one line per row of the record and confused class.

    Returns the columns ``row`` (position in the record), ``other`` (class) and ``px``; errors as in
    :func:`read_record`.

    Examples:
        >>> from segattn.objects import read_confusions
        >>> list(read_confusions("runs/quickstart/version_0/objects_val.parquet").columns)
        ['row', 'other', 'px']
    """
    table = _read(Path(path), _open(Path(path)), ["confused_class", "confused_px"])
    classes, pixels = (column.combine_chunks() for column in table.columns)
    columns = {"row": pc.list_parent_indices(classes), "other": classes.flatten(), "px": pixels.flatten()}
    frame: pd.DataFrame = pa.table(columns).to_pandas()
    return frame


def part_path(path: Path, rank: int) -> Path:
    """Where the process of this rank writes its part of the record at ``path``.

    Examples:
        >>> from pathlib import Path
        >>> from segattn.objects import part_path
        >>> part_path(Path("objects_val.parquet"), rank=1).name
        'objects_val.rank1.parquet'
    """
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def merge_records(parts: Sequence[Path], path: Path) -> None:
    """Concatenate the parts of a record, then remove them. Raises RecordError if they differ in their metadata.

    Examples:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from segattn.metrics.functional import object_rows
        >>> from segattn.objects import RecordInfo, RecordWriter, merge_records, part_path, read_record
        >>> mask, path = np.array([[0, 0, 1, 1]]), Path("merged.parquet")
        >>> parts = [part_path(path, rank) for rank in range(2)]
        >>> for part in parts:
        ...     with RecordWriter(part, RecordInfo(["sky", "car"], [4], ["small", "large"])) as writer:
        ...         writer.write(object_rows(mask, mask, 2, image=part.name))
        >>> merge_records(parts, path)
        >>> len(read_record(path).rows)
        4
    """
    info = _info(parts[0], _open(parts[0]))
    with RecordWriter(path, info) as writer:
        for part in parts:  # opened one after the other, because there may be thousands
            file = _open(part)
            if _info(part, file) != info:
                raise RecordError(f"{parts[0]} and {part} are parts of different records.")
            for batch in file.iter_batches(ROWS_PER_GROUP):
                writer.append(batch.select(list(COLUMNS)))
    for part in parts:
        part.unlink()


def _open(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise FileNotFoundError(f"There is no object record at {path}.")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path} is not an object record: it is not a complete Parquet file.") from error
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise RecordError(
            f"{path} is not an object record of this version: it has no column {', '.join(missing)}. Write it again "
            "with segattn validate or segattn score."
        )
    return file


def _read(path: Path, file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    try:
        table = file.read(None if columns is None else list(columns))
        return table.cast(
            pa.schema([_SCHEMA.field(each.name) if each.name in COLUMNS else each for each in table.schema])
        )
    except (pa.ArrowException, OSError) as error:
        raise RecordError(f"{path} is damaged: its rows cannot be read. Copy it again, or write it again.") from error


def _from_json(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"its metadata {key} is damaged, got {text[:80]!r}.") from error


def _info(path: Path, file: pq.ParquetFile) -> RecordInfo:
    metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
    try:
        return RecordInfo.from_metadata(metadata)
    except TypeError as error:
        raise RecordError(f"{path} is damaged: its metadata contains a value of another type.") from error
    except KeyError as error:
        raise RecordError(f"{path} is not an object record: its metadata has no {error}.") from error
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error
