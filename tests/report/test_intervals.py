from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from segattn.objects.record_files import RecordInfo
from segattn.report import compare, verdict
from segattn.report.intervals import add_adjustment, intervals, p_values
from segattn.report.runs import Run, Study
from segattn.report.verdicts import win_tie_loss
from tests.oracles.p_values import benjamini_hochberg, p_value

CLASSES = tuple("abcdef")
INFO = RecordInfo(class_names=CLASSES, edges=(500,), bucket_names=("small", "large"))
IMAGES = 40


def differences(rng, count, resamples):
    """Differences around 0, some without spread, with ties at 0, or without a value."""
    drawn = rng.normal(rng.normal(0, 2, (count, 1)), 1, (count, resamples))
    drawn[rng.random(drawn.shape) < 0.1] = np.nan
    drawn[0], drawn[1], drawn[2, : resamples // 2 + 1], drawn[3] = 0, 1, np.nan, np.round(drawn[3])
    drawn[4, 1:] = np.abs(drawn[4, 1:]) + 0.1
    drawn[4, 0] = -1
    return drawn


@pytest.mark.parametrize("resamples", [1, 2, 41, 500])
def test_p_values_are_those_of_the_search(resamples):
    drawn = differences(np.random.default_rng(resamples), 30, resamples)
    expected = [p_value(row) if (~np.isnan(row)).sum() * 2 > resamples else np.nan for row in drawn]
    np.testing.assert_allclose(p_values(drawn), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_p_values_agree_with_the_intervals(level):
    drawn = differences(np.random.default_rng(1), 200, 101)
    tail = 50 * (1 - level)
    low, high = intervals(drawn, (tail, 100 - tail))
    excluded = (low > 0) | (high < 0)
    assert 0 < excluded.sum() < 200
    assert ((p_values(drawn) < 1 - level) == excluded).all()


def test_each_run_and_measure_is_adjusted_alone():
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"name": np.repeat(["base", "one", "two"], 12), "measure": np.tile(["miou", "found"], 18)})
    table["p"] = np.where(table["name"] == "base", np.nan, rng.random(36) ** 3)
    table.loc[[14, 20], "p"] = np.nan  # nothing to compare
    table["result"] = np.select([table["name"] == "base", table["p"] < 0.05], ["", "win"], "tie")
    found = add_adjustment(table, 0.95)
    for (name, _), part in found.groupby(["name", "measure"]):
        known = part.dropna(subset=["p"])
        assert len(known) == (0 if name == "base" else len(known))
        assert known["p_adjusted"].tolist() == pytest.approx(benjamini_hochberg(known["p"].tolist()))
    sure = found["p_adjusted"] <= 0.05
    assert 0 < sure.sum() < (table["result"] == "win").sum()
    assert (found["adjusted_result"] == np.where(sure, "win", table["result"].replace("win", "tie"))).all()
    assert found["p_adjusted"].isna().equals(found["p"].isna())


def run(name, rng, sizes, recall):
    """Objects of every class and size in each image, with a mean recall by class."""
    class_id = np.tile(np.arange(len(CLASSES)), 2 * IMAGES)
    share = np.asarray(recall)[class_id] + rng.uniform(-0.3, 0.3, len(sizes))
    tp = np.round(sizes * share).astype(int)
    image = np.repeat(np.arange(IMAGES), 2 * len(CLASSES))
    image = pd.Categorical.from_codes(image, [f"{n:02d}" for n in range(IMAGES)])
    rows = pd.DataFrame({"image": image, "class_id": class_id, "size_px": sizes, "tp": tp, "fn": sizes - tp})
    rows = rows.assign(kind="object", height=64, width=64, fp=0, fp_boundary=0, fn_boundary=0)
    return Run(name, name, Path(name), rows, pd.DataFrame(), INFO)


def sizes_of(rng):
    """One small and one large object of every class in each image."""
    return np.tile(np.repeat([[100], [600]], len(CLASSES)), IMAGES) + rng.integers(0, 300, 2 * IMAGES * len(CLASSES))


def test_adjusted_findings_without_a_difference_stay_below_the_level():
    """Without a true difference, a family rarely has any adjusted finding, while raw findings are common."""
    rng, rounds = np.random.default_rng(0), 25
    raw, adjusted, share = 0, 0, 0.0
    for number in range(rounds):
        sizes = sizes_of(rng)
        study = Study({name: [run(name, rng, sizes, [0.6] * len(CLASSES))] for name in ("one", "two")})
        classes = compare(study, resamples=400, seed=number, level=0.9).classes.query("name == 'two'")
        assert len(classes) == 18
        raw += (classes["result"] != "tie").any()
        adjusted += (classes["adjusted_result"] != "tie").any()
        share += (classes["adjusted_result"] != "tie").mean()
    assert share / rounds < 0.1
    assert adjusted / rounds < 0.25 < 0.5 < raw / rounds


def test_the_verdict_follows_the_adjustment():
    rng = np.random.default_rng(3)
    sizes, level = sizes_of(rng), 0.95
    recall = [0.6 + 0.06 * (number < 3) for number in range(len(CLASSES))]
    runs = {"one": run("one", rng, sizes, [0.6] * len(CLASSES)), "two": run("two", rng, sizes, recall)}
    study = Study({name: [each] for name, each in runs.items()})
    comparison = compare(study, resamples=400, level=level)
    win, raw = (win_tie_loss(comparison, key).query("size == 'all'").iloc[0] for key in ("adjusted_result", "result"))
    sentence, *limits = verdict(study, comparison)
    assert f"Better for {win['win']} and worse for {win['loss']} of 6 classes after adjustment for 18" in sentence
    assert f"({raw['win']} and {raw['loss']} without adjustment)" in sentence
    assert "With 400 resamples, a single difference among 18 comparisons cannot remain" in limits[-2]
    means = comparison.means.assign(adjusted_result=comparison.means["adjusted_result"].replace("win", "tie"))
    dropped = verdict(study, replace(comparison, means=means))[0]
    assert "interval): not clear after adjustment for 3 comparisons overall (+" in dropped
    assert "better" not in dropped.split("Better for")[0]
