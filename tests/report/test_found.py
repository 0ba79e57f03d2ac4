import numpy as np
import pytest

from segattn.report import compare, found_curve, found_table, load_runs
from segattn.report.found_section import found_means, found_summary
from segattn.report.found_tables import RECALLS
from segattn.report.scores import FOUND_MEASURES
from tests.report.records import EDGES, named, write_record


def test_found_table_by_hand(study):
    table = found_table(study).set_index(["name", "class_name", "size"])
    rows = study.groups["fla"][0].rows
    ring = rows[(rows["class_name"] == "ring") & (rows["size_px"] < EDGES[0])]
    objects = ring[ring["kind"] == "object"]
    found = (objects["tp"] * 2 > objects["size_px"]).sum()
    alarms = ((ring["kind"] == "false_positive") & (ring["fp"] == ring["size_px"])).sum()
    row = table.loc[("fla", "ring", "small")]
    assert alarms > 0
    assert (row["objects"], row["found"]) == (len(objects), found / len(objects))
    assert row["found_precision"] == found / (found + alarms)
    assert row["found_f1"] == pytest.approx(2 / (1 / row["found"] + 1 / row["found_precision"]))
    assert row["false_alarms"] == alarms / 8
    strict = found_table(study, 0.9).set_index(["name", "class_name", "size"])
    assert strict.loc[("fla", "ring", "small"), "found"] == (objects["recall"] > 0.9).sum() / len(objects)
    with pytest.raises(ValueError, match="at least 0 and below 1, got 1"):
        found_table(study, 1.0)
    for wrong in ([0.5, 0.25], [0.5, 1.0], [-0.1]):
        with pytest.raises(ValueError, match="ascending numbers of at least 0 and below 1"):
            found_curve(study, wrong)


def test_found_curve_contains_the_scores_of_every_threshold(study):
    curve = found_curve(study).set_index(["name", "size", "recall"])["found"].sort_index()
    comparison = compare(study, resamples=5)
    means = comparison.means.query("measure == 'found'").set_index(["name", "size"])["score"]
    for (name, size), value in means.items():
        assert curve[name, size, 0.5] == pytest.approx(value)
        assert curve[name, size].is_monotonic_decreasing
    for recall in RECALLS:
        table = found_table(study, recall).query("size == 'medium' and objects > 0")
        wanted = table.groupby("name")["found"].mean()
        assert [curve[name, "medium", recall] for name in wanted.index] == pytest.approx(wanted.tolist())


def test_comparison_of_objects_found(study):
    comparison = compare(study, resamples=40)
    table = found_table(study).set_index(["name", "class_name", "size"])
    for measure in FOUND_MEASURES:
        rows = comparison.found[comparison.found["measure"] == measure].set_index(["name", "class_name", "size"])
        np.testing.assert_allclose(rows["score"], table.loc[rows.index, measure])
        known = rows.dropna(subset=["score", "score_low"])
        assert (known["score_low"] <= known["score_high"]).all()
    wide = found_means(comparison).set_index(["name", "size"])
    assert wide.loc[("fla", "small"), "difference"] == pytest.approx(
        wide.loc[("fla", "small"), "found"] - wide.loc[("fcn", "small"), "found"]
    )
    assert wide.loc[("fla", "all"), "result"] == "win"
    cells = {cell.text for row in found_summary(comparison).rows for cell in row}
    alarms = wide.loc[("fla", "all")]
    assert "{false_alarms:.2f} ({false_alarms_low:.2f} to {false_alarms_high:.2f})".format(**alarms) in cells


def test_fewer_false_alarms_are_better(tmp_path):
    paths = [
        write_record(tmp_path / f"{noise}.parquet", lost=0.0, noise=noise, images=8, **named(f"noise{noise}"))
        for noise in (9, 0)
    ]
    means = compare(load_runs(paths), resamples=60).means.query("measure == 'false_alarms' and size == 'all'")
    assert means["score"].is_monotonic_decreasing
    assert means["result"].tolist() == ["", "win"]
