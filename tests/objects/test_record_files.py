import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segattn import __version__
from segattn.metrics.functional import object_rows
from segattn.objects import (
    COLUMNS,
    RecordError,
    RecordInfo,
    RecordWriter,
    merge_records,
    part_path,
    read_confusions,
    read_record,
)
from segattn.objects import record_files as records

INFO = RecordInfo(
    class_names=["road", "car"],
    edges=[1024, 9216],
    bucket_names=["small", "medium", "large"],
    unit="instance",
    min_objects=2,
    things=[1],
    extra={"run": "fla-1", "split": "val"},
)


def arrays(values):
    cut = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        cut[number] = value
    return cut


def rows(count, image="a.png"):
    values = {}
    for number, (name, (kind, _)) in enumerate(COLUMNS.items()):
        if pa.types.is_string(kind):
            values[name] = np.full(count, image if name == "image" else "road", dtype=object)
        elif pa.types.is_boolean(kind):
            values[name] = np.arange(count) % 2 == 0
        elif pa.types.is_list(kind):
            values[name] = arrays([np.arange(n % 3, dtype=kind.value_type.to_pandas_dtype()) + n for n in range(count)])
        else:
            values[name] = (np.arange(count) + number).astype(kind.to_pandas_dtype())
    return values


def write(path, *images, info=INFO):
    with RecordWriter(path, info) as writer:
        for image in images:
            writer.write(image)


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "objects.parquet"
    write(path, rows(3, "a.png"), rows(0), rows(2, "b.png"))
    record = read_record(path)
    assert record.info == INFO
    assert record.info.version == __version__
    assert list(record.rows) == list(COLUMNS)
    assert record.rows["image"].tolist() == ["a.png"] * 3 + ["b.png"] * 2
    for name, values in rows(3).items():
        assert [np.array(value).tolist() for value in record.rows[name][:3]] == [
            np.array(value).tolist() for value in values
        ]
    assert list(path.parent.iterdir()) == [path]


def test_read_confusions(tmp_path):
    write(tmp_path / "objects.parquet", rows(3), rows(0), rows(3, "b.png"))
    lines = read_confusions(tmp_path / "objects.parquet")
    assert lines.to_numpy().tolist() == [[1, 1, 1], [2, 2, 2], [2, 3, 3], [4, 1, 1], [5, 2, 2], [5, 3, 3]]
    write(tmp_path / "empty.parquet")
    assert len(read_confusions(tmp_path / "empty.parquet")) == 0


def test_read_some_columns(tmp_path):
    write(tmp_path / "objects.parquet", rows(3))
    assert list(read_record(tmp_path / "objects.parquet", columns=["tp", "image"]).rows) == ["tp", "image"]


def test_metadata_is_readable_by_other_tools(tmp_path):
    write(tmp_path / "objects.parquet", rows(1))
    schema = pq.read_schema(tmp_path / "objects.parquet")
    assert schema.metadata[b"class_names"] == b'["road", "car"]'
    assert schema.metadata[b"edges"] == b"[1024, 9216]"
    assert schema.metadata[b"unit"] == b"instance"
    assert schema.metadata[b"run"] == b"fla-1"
    assert schema.field("size_px").metadata[b"description"] == b"area, px"


def test_rows_are_written_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROWS_PER_GROUP", 10)
    path = tmp_path / "objects.parquet"
    with RecordWriter(path, INFO) as writer:
        for _ in range(6):
            writer.write(rows(5))
        assert not path.exists()
    assert pq.ParquetFile(path).num_row_groups == 3
    assert len(read_record(path).rows) == 30


def test_empty_record(tmp_path):
    write(tmp_path / "objects.parquet")
    record = read_record(tmp_path / "objects.parquet")
    assert len(record.rows) == 0
    assert list(record.rows) == list(COLUMNS)


def fail_while_writing(path):
    with RecordWriter(path, INFO) as writer:
        writer.write(rows(5, "new.png"))
        raise KeyboardInterrupt


def test_failure_keeps_the_existing_file(tmp_path):
    path = tmp_path / "objects.parquet"
    write(path, rows(1, "old.png"))
    with pytest.raises(KeyboardInterrupt):
        fail_while_writing(path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_record(path).rows["image"].tolist() == ["old.png"]


def test_merge_records(tmp_path):
    path = tmp_path / "objects.parquet"
    parts = [part_path(path, rank) for rank in range(3)]
    for rank, part in enumerate(parts):
        write(part, rows(rank + 1, f"{rank}.png"))
    merge_records(parts, path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_record(path).info == INFO
    assert read_record(path).rows["image"].tolist() == ["0.png", "1.png", "1.png", "2.png", "2.png", "2.png"]


def test_merge_parts_of_different_records(tmp_path):
    other = RecordInfo(class_names=["road"], edges=[5], bucket_names=["s", "l"])
    write(tmp_path / "a.parquet", rows(1))
    write(tmp_path / "b.parquet", rows(1), info=other)
    with pytest.raises(RecordError, match="different records"):
        merge_records([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "c.parquet")
    assert (tmp_path / "a.parquet").exists()


def test_files_that_are_not_records(tmp_path):
    text, table, bare = tmp_path / "text.parquet", tmp_path / "table.parquet", tmp_path / "bare.parquet"
    text.write_text("image,tp\n")
    pd.DataFrame({"image": ["a"], "tp": [1]}).to_parquet(table)
    pd.DataFrame(rows(1)).to_parquet(bare)
    with pytest.raises(RecordError, match=r"text\.parquet is not an object record: it is not a complete Parquet file"):
        read_record(text)
    with pytest.raises(RecordError, match="has no column height, width"):
        read_record(table)
    with pytest.raises(RecordError, match="its metadata has no 'class_names'"):
        read_record(bare)
    pd.DataFrame(rows(1)).drop(columns=["confused_class", "confused_px"]).to_parquet(bare)
    with pytest.raises(RecordError, match="no column confused_class, confused_px"):
        read_record(bare)
    with pytest.raises(FileNotFoundError, match="no object record at"):
        read_record(tmp_path / "none.parquet")


def test_unknown_format():
    with pytest.raises(ValueError, match="has format 4; this version reads format 3 only"):
        RecordInfo(class_names=["a"], edges=[1], bucket_names=["s", "l"], format=4)


def test_objects_do_not_import_torch():
    code = "import sys, segattn.objects; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_class_that_does_not_fit_is_refused(tmp_path):
    rows = object_rows(np.zeros((2, 2), int), np.zeros((2, 2), int), 1, image="a")
    with pytest.raises(pa.ArrowInvalid, match="32768"):
        records.pack_rows({**rows, "class_id": rows["class_id"] + (1 << 15)})
