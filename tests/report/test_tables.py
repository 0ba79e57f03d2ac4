import numpy as np
import pandas as pd
import pytest

from segattn.data.scenes import CLASSES
from segattn.metrics.functional import object_rows
from segattn.objects.record_files import RecordWriter
from segattn.report import (
    PROPERTIES,
    class_table,
    compare,
    confusion_matrix,
    confusions,
    curves,
    divided_objects,
    load_runs,
    property_table,
    run_scores,
    size_gaps,
    size_table,
    worst_objects,
)
from segattn.report.charts import confusion_figure
from tests.report.records import EDGES, NAMES, info, named, write_record


def test_size_table_averages_seeds(study):
    table = size_table(study).set_index(["name", "size"])
    scores = [run_scores(run)[0] for run in study.groups["fcn"]]
    assert table.loc[("fcn", "small"), "miou"] == pytest.approx(np.mean([s.bucket_miou[0] for s in scores]))
    assert table.loc[("fcn", "all"), "miou_std"] == pytest.approx(np.std([s.miou for s in scores], ddof=1))
    assert table.loc["fla", "miou_std"].isna().all()
    assert table.loc[("fla", "all"), "objects"] == len(study.runs[0].objects)
    assert table.loc["fla", "objects"].iloc[1:].sum() == table.loc[("fla", "all"), "objects"]


def test_class_table(study):
    table = class_table(study).set_index(["name", "class_name", "size"])
    rows = study.groups["fla"][0].rows
    ring = rows[rows["class_name"] == "ring"]
    assert table.loc[("fla", "ring", "all"), "iou"] == ring["tp"].sum() / ring[["tp", "fp", "fn"]].to_numpy().sum()
    small = ring[ring["size_px"] < EDGES[0]]
    recall = small["tp"].sum() / (small["tp"] + small["fn"]).sum()
    assert table.loc[("fla", "ring", "small"), "recall"] == recall
    assert table.loc[("fla", "ring", "small"), "objects"] == (small["kind"] == "object").sum()
    gaps = size_gaps(study).set_index(["name", "class_name"])
    large = table.loc[("fla", "background", "large"), "recall"]
    assert gaps.loc[("fla", "background"), "gap"] == large - table.loc[("fla", "background", "small"), "recall"]


def test_curves(study):
    table = curves(study).query("name == 'fla'")
    rows = study.groups["fla"][0].rows
    inside = rows[(rows["size_px"] >= 64) & (rows["size_px"] < 256)]
    objects = inside[inside["kind"] == "object"]
    row = table[table["low_edge"] == 64].iloc[0]
    assert row["pooled_iou"] == inside["tp"].sum() / inside[["tp", "fp", "fn"]].to_numpy().sum()
    assert row["pooled_recall"] == inside["tp"].sum() / (inside["tp"] + inside["fn"]).sum()
    assert row["object_iou"] == pytest.approx(objects["iou"].mean())
    assert row["object_recall"] == pytest.approx(objects["recall"].mean())
    assert table["objects"].sum() == (rows["kind"] == "object").sum()


@pytest.mark.parametrize("which", PROPERTIES)
def test_properties_partition_the_objects_of_every_size(study, which):
    table = property_table(study, which)
    counts = table.groupby(["name", "size"], sort=False)["objects"].sum()
    for name in study.names:
        expected = size_table(study).query("name == @name").set_index("size")["objects"]
        assert counts[name].to_dict() == {size: expected[size] for size in NAMES}


def test_property_table_by_hand(study):
    rows = study.groups["fla"][0].objects
    thin = rows[(rows["size_px"] < EDGES[0]) & (rows["max_width_px"] >= 4) & (rows["max_width_px"] < 8)]
    row = property_table(study, "thinness").query("name == 'fla' and size == 'small' and value == '4 to 8'").iloc[0]
    assert row["objects"] == len(thin)
    assert row["object_recall"] == pytest.approx(thin["recall"].mean())
    assert row["pooled_recall"] == pytest.approx(thin["tp"].sum() / thin["size_px"].sum())
    with pytest.raises(ValueError, match=r"which must be one of thinness, .*, got 'color'"):
        property_table(study, "color")


@pytest.mark.parametrize(
    ("which", "column", "yes", "no"),
    [
        ("border", "touches_border", "touches the border", "inside"),
        ("ignore", "touches_ignore", "touches ignored pixels", "does not touch"),
        ("merged", "merged", "merged with another object", "separate"),
    ],
)
def test_objects_with_and_without_a_property(tmp_path, which, column, yes, no):
    write_record(tmp_path / "one.parquet", seed=3, lost=0.3, images=6)
    study = load_runs([tmp_path / "one.parquet"])
    all_rows = study.runs[0].rows
    all_rows[column] = np.arange(len(all_rows)) % 3 == 0  # the drawn objects may all be of one kind
    rows = study.runs[0].objects
    table = property_table(study, which).groupby("value")["objects"].sum()
    assert table.to_dict() == {yes: rows[column].sum(), no: (~rows[column]).sum()}


def test_confusion_matrix_counts_every_pixel(study):
    run = study.groups["fla"][0]
    matrix = confusion_matrix(study, "fla")
    by_class = run.rows.groupby("class_id")[["tp", "fp", "fn"]].sum()
    assert (np.diag(matrix) == by_class["tp"]).all()
    assert (matrix.sum(axis=1).to_numpy() == by_class["tp"] + by_class["fn"]).all()
    assert (matrix.sum(axis=0).to_numpy() == by_class["tp"] + by_class["fp"]).all()
    parts = [confusion_matrix(study, "fla", size) for size in NAMES]
    assert (sum(parts) == matrix).all(axis=None)
    row = confusions(study, "small").query("name == 'fla'").iloc[0]
    small = parts[0].loc[row["class_name"]]
    assert row["share"] == small[row["other"]] / small.sum()
    assert row["share"] == small.drop(row["class_name"]).max() / small.sum()


def test_classes_without_objects_have_no_confusions(tmp_path):
    study = load_runs([write_record(tmp_path / "one.parquet", images=1)])
    matrix = confusion_matrix(study, "fcn", "large")
    absent = matrix.index[matrix.sum(axis=1) == 0]
    assert len(absent)
    assert not confusions(study, "large")["class_name"].isin(absent).any()
    assert confusion_figure(study, "fcn", "large").axes


def test_worst_and_divided_objects(study):
    table = worst_objects(study, "small", 5, per_class=2)
    assert len(table) == 5
    assert table["class_id"].value_counts().max() <= 2
    assert table["iou"].is_monotonic_increasing
    first = table.iloc[0]
    for name, runs in study.groups.items():
        rows = pd.concat([run.objects for run in runs])
        same = rows[(rows["image"] == first["image"]) & (rows["y0"] == first["y0"]) & (rows["x0"] == first["x0"])]
        assert same[same["size_px"] == first["size_px"]]["iou"].mean() == first[f"iou {name}"]
    divided = divided_objects(study, "small", 3)
    assert (divided["iou fcn"] != divided["iou fla"]).all()


def test_a_run_without_merged_objects_counts_as_0(tmp_path):
    """Two discs that touch each other in the prediction of the first seed only."""
    mask = np.zeros((20, 40), dtype=np.uint8)
    mask[5:9, 5:9] = mask[5:9, 10:14] = 1
    merged = mask.copy()
    merged[5:9, 9] = 1
    for version, prediction in enumerate((merged, mask)):
        with RecordWriter(
            tmp_path / f"version_{version}" / "objects_val.parquet", info(**named("fcn", version))
        ) as out:
            out.write(object_rows(prediction, mask, len(CLASSES), image="0.png", class_names=CLASSES.names))
    other = write_and_load(tmp_path, mask)
    table = property_table(other, "merged").query("name == 'fcn' and size == 'small'").set_index("value")["objects"]
    assert table["merged with another object"] == 1
    assert table["separate"] == 1


def write_and_load(folder, mask):
    """The runs of the test above, and one of another name, so that they are one group."""
    path = folder / "other" / "objects_val.parquet"
    with RecordWriter(path, info(**named("other"))) as out:
        out.write(object_rows(mask, mask, len(CLASSES), image="0.png", class_names=CLASSES.names))
    return load_runs([folder, path])


def test_counts_beside_a_mean_are_those_of_its_classes(tmp_path):
    """Classes with fewer than min_objects objects of a size are in no mean of this size."""
    study = load_runs([write_record(tmp_path / "a.parquet", min_objects=8, **named("a"))])
    objects = study.runs[0].objects
    counts = objects[objects["size_px"] < EDGES[0]]["class_name"].value_counts()
    kept = counts[counts >= 8]
    assert 0 < len(kept) < len(counts)
    row = size_table(study).set_index("size").loc["small"]
    assert (row["classes"], row["objects"]) == (len(kept), kept.sum())
    means = compare(study, resamples=2).means.set_index(["measure", "size"])
    for measure in ("miou", "found", "lost_extent"):
        row = means.loc[(measure, "small")]
        assert (row["classes"], row["objects"]) == (len(kept), kept.sum())
    every = objects["class_name"].value_counts()
    assert means.loc[("found", "all"), "objects"] == every[every >= 8].sum()
    assert means.loc[("miou", "all"), "objects"] == len(objects)
