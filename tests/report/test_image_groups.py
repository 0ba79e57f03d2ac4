from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from segattn import cli
from segattn.objects.record_files import RecordInfo
from segattn.report import compare, load_runs, verdict
from segattn.report.image_groups import group_images
from segattn.report.runs import Run, Study
from tests.report.records import named, write_record

INFO = {"class_names": ("a", "b"), "edges": (100,), "bucket_names": ("small", "large")}
CITIES = [f"{city}/{city}_{n:06d}_000019_leftImg8bit.png" for city in ("bonn", "ulm") for n in range(3)]
DRIVES = ["0001TP_006690.png", "0001TP_006720.png", "Seq05VD_f00000.png"]
FRAMES = [f"0016E5_{number}.png" for number in (9, 10, 11, 100)]


def study_of(names, data=None, share=0.5):
    """A study of one run with an object of each of two classes per image; ``share`` is their recall."""
    names, recall = sorted(names), np.broadcast_to(share, (len(names), 2)).ravel()
    image = pd.Categorical.from_codes(np.repeat(np.arange(len(names)), 2), names)
    tp = np.round(1000 * recall).astype(int)
    rows = pd.DataFrame({"image": image, "class_id": np.tile([0, 1], len(names)), "tp": tp, "fn": 1000 - tp})
    rows = rows.assign(kind="object", height=64, width=64, fp=0, size_px=1000, fp_boundary=0, fn_boundary=0)
    info = RecordInfo(**INFO, extra={"data": data} if data else {})
    return Study({"run": [Run("run", "run", Path("run"), rows, pd.DataFrame(), info)]})


def grouped(names, group_by=None, data=None):
    """The names of each group, and what the groups are."""
    study = study_of(names, data)
    groups = group_images(study, group_by)
    parts = [
        [name for name, g in zip(study.images, groups.numbers, strict=True) if g == n] for n in range(groups.count)
    ]
    return sorted(parts), groups.what


@pytest.mark.parametrize(
    ("names", "data", "what", "sizes"),
    [
        (CITIES, "Cityscapes", "cities", [3, 3]),
        ([name.replace("leftImg8bit", "gtFine_labelIds") for name in CITIES], "cityscapes", "cities", [3, 3]),
        (DRIVES, "CamVid", "drives", [2, 1]),
        ([f"0016E5_{n:05d}.png" for n in range(25)], "CamVid", "blocks of 10 consecutive images", [10, 10, 5]),
        (FRAMES, "CamVid", "images", [1] * 4),
        (["a.png", "b.png"], "CamVid", "images", [1, 1]),
        (CITIES, "Folder", "images", [1] * 6),
        (CITIES, None, "images", [1] * 6),
    ],
)
def test_default_depends_on_the_data_set(names, data, what, sizes):
    parts, found = grouped(names, data=data)
    assert (found, [len(part) for part in parts]) == (what, sizes)


def test_groups_by_pattern():
    assert grouped(DRIVES, r"^[^_]+")[0] == [DRIVES[:2], DRIVES[2:]]
    assert grouped(DRIVES, r"_(f?)0")[0] == [DRIVES[:2], DRIVES[2:]]  # the first group, empty for two of them
    assert grouped(CITIES, r"(bonn|ulm)/")[0] == [CITIES[:3], CITIES[3:]]
    assert grouped(CITIES, "image", "Cityscapes")[0] == [[name] for name in CITIES]


def test_blocks_follow_the_natural_order_within_a_folder():
    assert grouped(FRAMES, "blocks:2")[0] == [["0016E5_10.png", "0016E5_9.png"], ["0016E5_100.png", "0016E5_11.png"]]
    assert [len(part) for part in grouped(CITIES, "blocks:2")[0]] == [2, 1, 2, 1]
    assert [len(part) for part in grouped(CITIES, "blocks:3")[0]] == [3, 3]


def test_groups_by_column(tmp_path):
    path = write_record(tmp_path / "one.parquet")
    table = pq.read_table(path)
    night = [name < "002" for name in table["image"].to_pylist()]
    pq.write_table(table.append_column("night", [night]), path)
    study = load_runs([path])
    assert group_images(study, "column:night").numbers.tolist() == [1, 1, 0, 0, 0, 0]
    with pytest.raises(ValueError, match=r"column:size_px needs one value per image, but 000\.png has several"):
        group_images(study, "column:size_px")
    with pytest.raises(ValueError, match=r"column:day cannot be used: .*one\.parquet has no such column"):
        group_images(study, "column:day")


@pytest.mark.parametrize(
    ("group_by", "what"),
    [
        ("(", r"--group-by \( is not a regular expression"),
        ("^bonn", r"matches 3 of 6 image names, but not ulm/ulm_000000"),
        ("(x)?bonn|ulm", r"matches 0 of 6 image names"),
        ("l", "puts all 6 images into one group"),
        ("blocks:0", "blocks:0 must have a positive number of images, such as blocks:10"),
        ("blocks:", "blocks: must have a positive number"),
        ("column:height", "cannot be used|no object record"),
    ],
)
def test_groups_that_cannot_be_made(group_by, what):
    with pytest.raises((ValueError, FileNotFoundError), match=what):
        group_images(study_of(CITIES), group_by)


def test_resampling_groups_equals_resampling_merged_images(tmp_path):
    """Two images of a group act as one image that has the objects of both."""
    path = write_record(tmp_path / "one.parquet", images=8)
    pairs = compare(load_runs([path]), group_by="blocks:2", resamples=50)
    table = pq.read_table(path)
    merged = [f"{int(name[:3]) // 2:03d}.png" for name in table["image"].to_pylist()]
    pq.write_table(table.set_column(0, "image", [merged]), path)
    pd.testing.assert_frame_equal(pairs.classes, compare(load_runs([path]), resamples=50).classes)


def test_groups_change_intervals_but_no_score(tmp_path):
    """Among the scores are false alarms per image, although groups have different numbers of images."""
    study = load_runs([write_record(tmp_path / "one.parquet", images=7)])
    one, two = (compare(study, group_by=group_by, resamples=50) for group_by in ("image", "blocks:3"))
    for key in ("means", "curve", "classes", "found"):
        pd.testing.assert_series_equal(getattr(one, key)["score"], getattr(two, key)["score"])
        assert not getattr(one, key)["score_low"].equals(getattr(two, key)["score_low"])


def test_intervals_of_correlated_frames():
    """With 25 drives of 12 similar frames, groups cover the true difference at about the stated 90 %, images rarely."""
    drives, frames, rounds = 25, 12, 40
    names = [f"{drive:03d}_{frame:03d}.png" for drive in range(drives) for frame in range(frames)]
    covered, rng = dict.fromkeys(("image", r"^\d+"), 0), np.random.default_rng(0)
    for number in range(rounds):
        groups = {}
        for name, mean in (("one", 0.5), ("two", 0.6)):
            drive = rng.normal(0, 0.1, (drives, 1, 1))
            share = mean + drive + rng.normal(0, 0.03, (drives, frames, 2))
            groups[name] = study_of(names, share=share.reshape(-1, 2).clip(0, 1)).runs
        for group_by in covered:
            comparison = compare(Study(groups), group_by=group_by, resamples=100, seed=number, level=0.9)
            row = comparison.means.query("name == 'two' and measure == 'miou' and size == 'all'").iloc[0]
            covered[group_by] += row["difference_low"] <= 0.1 <= row["difference_high"]
    assert covered["image"] / rounds < 0.6
    assert 0.8 <= covered[r"^\d+"] / rounds <= 0.98


def test_groups_are_named_in_the_summary_and_the_page(tmp_path, capsys):
    paths = [str(write_record(tmp_path / name / "objects_val.parquet", **named(name))) for name in "ab"]
    arguments = ["compare", *paths, "--output", str(tmp_path / "out"), "--resamples", "20", "--no-pictures"]
    assert cli.main([*arguments, "--group-by", "blocks:3"]) == 0
    printed = capsys.readouterr().out
    assert "With only 2 blocks of 3 consecutive images the intervals are unreliable" in printed
    assert "from 2 blocks of 3 consecutive images (6 images), drawn as if they were independent" in printed
    html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "20 bootstrap resamples of the 2 blocks of 3 consecutive images, the same for all runs" in html
    study = load_runs(paths)
    assert "--group-by draws such images together" in verdict(study, compare(study, resamples=20))[-1]
    assert cli.main([*arguments, "--group-by", "blocks:9"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
