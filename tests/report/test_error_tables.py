import numpy as np
import pytest

from segattn.report import class_table, compare, error_table
from segattn.report.charts import lost_figure
from segattn.report.error_tables import kinds_summary, lost_means
from segattn.report.scores import KINDS
from tests.report.records import EDGES


def test_error_table_by_hand(study):
    table = error_table(study).set_index(["name", "class_name", "size"])
    rows = study.groups["fla"][0].rows
    bar = rows[(rows["class_name"] == "bar") & (rows["size_px"] < EDGES[0])]
    false = bar["fp"] + bar["fn"]
    boundary = (bar["fp_boundary"] + bar["fn_boundary"]).sum()
    whole = (bar["kind"] == "false_positive") & (bar["fp"] == bar["size_px"])
    segment = bar["fp"][whole].sum() + bar["fn"][bar["tp"] == 0].sum()
    row = table.loc[("fla", "bar", "small")]
    assert min(boundary, segment, false.sum() - boundary - segment) > 0
    assert row["false_px"] == false.sum()
    assert row["boundary"] == boundary / false.sum()
    assert row["segment"] == segment / false.sum()
    assert row["extent"] == (false.sum() - boundary - segment) / false.sum()


def test_kinds_sum_to_the_errors(study):
    table = error_table(study).dropna()
    assert table[list(KINDS)].sum(axis=1).to_numpy() == pytest.approx(1)
    iou = class_table(study).set_index(["name", "class_name", "size"])["iou"].sort_index()
    keys = list(table[["name", "class_name", "size"]].itertuples(index=False, name=None))
    lost = table[[f"lost_{kind}" for kind in KINDS]].sum(axis=1).to_numpy()
    assert lost + np.array([iou[key] for key in keys]) == pytest.approx(1)


def test_costs_of_a_comparison(study):
    comparison = compare(study, resamples=30)
    lost = lost_means(comparison).set_index(["name", "size"])
    miou = comparison.means.query("measure == 'miou'").set_index(["name", "size"])["score"]
    assert (lost[list(KINDS)].sum(axis=1) + miou[lost.index]).to_numpy() == pytest.approx(1)
    segment = comparison.means.query("measure == 'lost_segment' and name == 'fla' and size == 'small'").iloc[0]
    assert segment["difference"] < 0
    assert segment["result"] == "win"
    assert [row[1].text for row in kinds_summary(comparison).rows] == ["all", "small", "medium", "large"] * 2
    widths = [bar.get_width() for bar in lost_figure(study, comparison).axes[0].patches]
    known = lost[list(KINDS)].dropna()
    assert sum(widths) == pytest.approx(100 * known.to_numpy().sum())
