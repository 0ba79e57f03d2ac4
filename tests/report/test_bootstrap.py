from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from segattn.objects.record_files import RecordInfo
from segattn.report import compare, load_runs, run_scores, verdict
from segattn.report.runs import Run, Study
from tests.report.records import named, write_record

INFO = RecordInfo(class_names=("a", "b"), edges=(100,), bucket_names=("small", "large"))
IMAGES = 40
RECALLS = {"one": (0.5, 0.7), "two": (0.6, 0.65)}
"""Mean recall of the two classes."""


def simulated(name, rng, sizes):
    """One object of each class per image, with a known mean recall."""
    class_id = np.tile([0, 1], IMAGES)
    share = np.array(RECALLS[name])[class_id] + rng.uniform(-0.3, 0.3, len(sizes))
    tp = np.round(sizes * share).astype(int)
    image = pd.Categorical.from_codes(np.repeat(np.arange(IMAGES), 2), [f"{n:02d}" for n in range(IMAGES)])
    rows = pd.DataFrame({"image": image, "class_id": class_id, "size_px": sizes, "tp": tp, "fn": sizes - tp})
    rows = rows.assign(kind="object", height=64, width=64, fp=0, fp_boundary=0, fn_boundary=0)
    return Run(name, name, Path(name), rows, pd.DataFrame(), INFO)


def test_intervals_cover_the_truth_at_the_stated_rate():
    """The IoU of a class is its mean recall here, so the true difference is known."""
    truth = np.mean(RECALLS["two"]) - np.mean(RECALLS["one"])
    covered, rounds, rng = np.zeros(2), 80, np.random.default_rng(0)
    for number in range(rounds):
        sizes = rng.integers(200, 900, 2 * IMAGES)
        study = Study({name: [simulated(name, rng, sizes)] for name in RECALLS})
        comparison = compare(study, resamples=200, seed=number, level=0.9)
        row = comparison.means.query("name == 'two' and measure == 'miou' and size == 'all'").iloc[0]
        covered[0] += row["difference_low"] <= truth <= row["difference_high"]
        row = comparison.classes.query("name == 'two' and class_name == 'a' and size == 'large'").iloc[0]
        covered[1] += row["difference_low"] <= 0.1 <= row["difference_high"]
    assert (covered / rounds >= 0.82).all()
    assert (covered / rounds <= 0.97).all()


def test_identical_runs_tie_everywhere(tmp_path):
    paths = [write_record(tmp_path / f"{n}.parquet", **named(n)) for n in ("one", "two")]
    comparison = compare(load_runs(paths), resamples=50)
    table = comparison.classes.query("name == 'two'")
    assert (table["difference"].dropna() == 0).all()
    assert (table["difference_high"].dropna() == 0).all()
    assert set(table["result"]) <= {"tie", ""}


def test_scores_are_exact_means_over_seeds(study):
    comparison = compare(study, resamples=20)
    for name in study.names:
        scores = [run_scores(run)[0] for run in study.groups[name]]
        rows = comparison.means.query("name == @name and measure == 'miou'").set_index("size")["score"]
        assert rows["all"] == pytest.approx(np.mean([s.miou for s in scores]))
        assert rows["small"] == pytest.approx(np.mean([s.bucket_miou[0] for s in scores]))
    means = comparison.means.set_index(["name", "measure", "size"]).sort_index()
    difference = means["score"].unstack("name")
    assert means.loc["fla", "difference"].to_numpy() == pytest.approx(
        (difference["fla"] - difference["fcn"])[means.loc["fla"].index]
    )
    assert (means.loc["fcn", "result"] == "").all()


def test_equal_seeds_give_equal_intervals(study, monkeypatch):
    first = compare(study, resamples=64, seed=3)
    assert compare(study, resamples=64, seed=3).means.equals(first.means)
    assert not compare(study, resamples=64, seed=4).means.equals(first.means)
    monkeypatch.setattr("segattn.report.bootstrap._FULL", 0)
    pd.testing.assert_frame_equal(compare(study, resamples=64, seed=3).classes, first.classes)


def test_resamples_can_be_drawn_one_by_one(study, monkeypatch):
    monkeypatch.setattr("segattn.report.bootstrap._VALUES_PER_PIECE", 1)
    assert compare(study, resamples=7).means["score_low"].notna().any()


def test_seeds_widen_the_interval(tmp_path):
    """Two very different runs of one name have a wider interval than two equal ones."""
    for name, seeds in (("same", (0, 0)), ("other", (0, 1))):
        for version, seed in enumerate(seeds):
            path = tmp_path / name / f"version_{version}" / "objects_val.parquet"
            write_record(path, seed=seed, lost=0.1 + 0.6 * seed, images=6, **named(name, version))
    means = compare(load_runs([tmp_path / "same", tmp_path / "other"]), resamples=300).means
    width = (means["score_high"] - means["score_low"])[(means["measure"] == "miou") & (means["size"] == "all")]
    assert width.iloc[1] > 1.3 * width.iloc[0]


def test_verdict(study):
    better, *limits = verdict(study, compare(study, resamples=200))
    assert better.startswith("fla compared with fcn (mIoU in points, 95 % interval): better overall (+")
    assert "no clear difference on large objects" in better
    assert "For fla there is one run each" in limits[0]
    assert "several runs (2 of fcn)" in limits[1]
    assert "With only 8 images" in limits[2]
    same = verdict(
        Study({"fcn": study.groups["fcn"], "again": study.groups["fcn"][:1]}),
        compare(Study({"fcn": study.groups["fcn"][:1], "again": study.groups["fcn"][:1]}), resamples=20),
    )
    assert "interval): no clear difference overall" in same[0]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"baseline": "psp"}, "no run 'psp' to compare with; the runs are fcn, fla"),
        ({"resamples": 0}, "resamples must be positive"),
        ({"level": 95.0}, "level between 0 and 1, got 2000 and 95.0"),
    ],
)
def test_invalid_options(study, options, what):
    with pytest.raises(ValueError, match=what):
        compare(study, **options)
