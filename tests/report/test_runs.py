import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from segattn.objects.record_files import RecordError, RecordInfo, RecordWriter, read_record
from segattn.report import load_runs
from tests.report.records import EDGES, info, named, write_record


def test_versions_of_one_name_are_one_group(study):
    assert {name: len(runs) for name, runs in study.groups.items()} == {"fcn": 2, "fla": 1}
    assert [run.label for run in study.runs] == ["fcn/version_0", "fcn/version_1", "fla/version_0"]
    assert study.images == [f"{number:03d}.png" for number in range(8)]


def test_runs_of_a_single_name_are_compared_with_each_other(tmp_path):
    for version in range(2):
        write_record(tmp_path / "fcn" / f"version_{version}" / "objects_val.parquet", **named("fcn", version), images=2)
    assert load_runs([tmp_path / "fcn"]).names == ["fcn/version_0", "fcn/version_1"]


def test_records_without_a_run_name_use_their_folders(tmp_path):
    one = write_record(tmp_path / "one" / "objects_val.parquet", extra={}, images=2)
    two = write_record(tmp_path / "two" / "objects_val.parquet", extra={}, images=2)
    assert load_runs([one, two]).names == ["one", "two"]


def test_image_order_does_not_matter(tmp_path):
    """With several processes, images are written in another order."""
    one = write_record(tmp_path / "one.parquet", **named("one"), images=4)
    rows = load_runs([one]).runs[0]
    shuffled = read_record(one).rows
    with RecordWriter(tmp_path / "two.parquet", info(**named("two"))) as writer:
        for image in ("002.png", "000.png", "003.png", "001.png"):
            part = shuffled[shuffled["image"] == image]
            writer.write({name: part[name].to_numpy() for name in part})
    other = load_runs([one, tmp_path / "two.parquet"]).runs[1]
    assert (rows.rows == other.rows).all(axis=None)
    by_row = [run.confusions.sort_values(["row", "other"], ignore_index=True) for run in (rows, other)]
    assert by_row[0].equals(by_row[1])


@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("tp", -5, "1 rows have negative or missing counts, for example of the image 000.png"),
        ("fp", -1, "negative or missing counts"),
        ("size_px", 0, "negative or missing counts"),
        ("fn", 10**6, r"do not add up to the size \(tp \+ fn\)"),
        ("class_id", 99, "classes that do not exist"),
        ("kind", "thing", "kinds other than object and false_positive"),
        ("iou", float("nan"), "a missing recall or IoU"),
    ],
)
def test_impossible_counts_are_refused(tmp_path, column, value, what):
    rows = read_record(write_record(tmp_path / "one.parquet", images=1)).rows
    rows.loc[rows.index[rows["kind"] == "object"][0], column] = value
    with RecordWriter(tmp_path / "two.parquet", info()) as writer:
        writer.write({name: rows[name].to_numpy() for name in rows})
    with pytest.raises(RecordError, match=what):
        load_runs([tmp_path / "two.parquet"])


@pytest.mark.parametrize(("key", "text"), [("edges", "[1,"), ("class_names", "nonsense"), ("edges", "3")])
def test_damaged_metadata_is_named(tmp_path, key, text):
    path = write_record(tmp_path / "one.parquet", images=1)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, key.encode(): text.encode()}), path)
    with pytest.raises(RecordError, match=r"one\.parquet.*(damaged)"):
        load_runs([path])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"edges": (500, 2000)}, "size edges differ: 400 and 500"),
        ({"unit": "instance"}, "units of an object differ: component and instance"),
        ({"min_objects": 3}, r"min_objects\) differ: 1 and 3"),
        ({"class_names": [*"abcdefg"]}, "classes differ: background and a"),
        ({"images": 2}, r"1 images, such as 002\.png, are not in .*two\.parquet"),
    ],
)
def test_differing_records_are_refused(tmp_path, changes, what):
    one = write_record(tmp_path / "one.parquet", images=3)
    two = write_record(tmp_path / "two.parquet", **{"images": 3} | changes)
    with pytest.raises(ValueError, match=what):
        load_runs([one, two])


def test_differing_ground_truth_is_refused(tmp_path):
    one = write_record(tmp_path / "one.parquet", images=2)
    rows = read_record(one).rows
    rows.loc[rows["kind"] == "object", ["size_px", "fn"]] += 1
    with RecordWriter(tmp_path / "two.parquet", info()) as writer:
        writer.write({name: rows[name].to_numpy() for name in rows})
    with pytest.raises(ValueError, match=r"ground truth differs in the image 000\.png"):
        load_runs([one, tmp_path / "two.parquet"])


def test_invalid_paths_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"objects_test\.parquet; segattn test writes it"):
        load_runs([tmp_path], split="test")
    path = write_record(tmp_path / "one.parquet", images=1)
    with pytest.raises(ValueError, match=r"one\.parquet was given twice"):
        load_runs([path, path.parent / "." / ".." / tmp_path.name / path.name])
    with pytest.raises(ValueError, match="No runs are given"):
        load_runs([])
    with pytest.raises(ValueError, match="split must be one of val, test, got 'train'"):
        load_runs([path], split="train")


def test_empty_record(tmp_path):
    described = RecordInfo(class_names=("a", "b"), edges=EDGES, bucket_names=("s", "m", "l"))
    with RecordWriter(tmp_path / "empty.parquet", described):
        pass
    with pytest.raises(RecordError, match="has no rows"):
        load_runs([tmp_path / "empty.parquet"])


def test_report_does_not_import_torch():
    code = "import sys, segattn.report, segattn.report.comparison_page; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_records_of_one_run_in_one_folder_stay_apart(tmp_path):
    paths = [tmp_path / f"loss_{loss}.parquet" for loss in (0.1, 0.3)]
    for path, loss in zip(paths, (0.1, 0.3), strict=True):
        write_record(path, lost=loss, **named("fla"))
    study = load_runs(paths)
    assert [run.path for run in study.runs] == paths
    assert study.names == [f"fla/version_0 in {path}" for path in paths]
