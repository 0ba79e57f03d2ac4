"""The script that writes the figure and the tables of docs/size_study.md."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import size_study_page as script
import study_counts

from segattn import report
from segattn.data.controlled_shapes import CLASSES, ControlledDrawing
from segattn.metrics.functional import object_rows
from segattn.objects.record_files import RecordInfo, RecordWriter

ROOT = Path(__file__).parents[1]
EDGES, NAMES = (24, 54, 126, 600), ("side4", "side6", "side9", "side14", "background")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two seeds of three variants in the context ``image``; a share of the objects has the wrong class."""
    root = tmp_path_factory.mktemp("records")
    drawing = ControlledDrawing(image_size=64, sides=(4.0, 6.0, 9.0, 14.0), context="image")
    scenes = [drawing.scene(np.random.default_rng(index))[1] for index in range(40)]
    for name, wrong in (("none", 0.5), ("position", 0.1), ("channel", 0.9)):
        for seed in (0, 1):
            path = root / "image" / "records" / "last" / f"{name}_seed_{seed}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            extra = {"run": name, "run_version": "version_0", "split": "val"}
            info = RecordInfo(class_names=CLASSES.names, edges=EDGES, bucket_names=NAMES, extra=extra)
            rng = np.random.default_rng([seed, round(100 * wrong)])
            with RecordWriter(path, info) as writer:
                for index, mask in enumerate(scenes):
                    prediction = np.where((mask > 0) & (rng.random() < wrong), 3 - mask, mask)
                    writer.write(object_rows(prediction, mask, 3, image=f"{index:02d}", class_names=CLASSES.names))
    return root


@pytest.fixture(scope="module")
def counts(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    study_counts.add_records(records, folder)
    return folder


def test_results_are_written_into_the_page(records, tmp_path):
    page = tmp_path / "size_study.md"
    (tmp_path / "images").mkdir()
    page.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    script.main(["--add", str(records), "--counts", str(tmp_path / "counts"), "--page", str(page)])
    text = page.read_text()
    assert text.startswith("before\n<!-- results -->\n## Results")
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert "old" not in text
    assert text.count("Context `image`") == 1
    assert "| `position` | 2 | +" in text
    assert "| 1 | `position` better than `none` | `image`, side4 | mechanism and paper | +" in text
    decisions = {int(line.split("|")[1]): line.split("|")[-2].strip() for line in text.splitlines() if "than `" in line}
    assert decisions[2] == "confirmed"  # position is better than none
    assert decisions[3] == decisions[5] == "refuted"  # channel is worse, and was expected to be better
    assert decisions[6] == "not run yet"
    assert (tmp_path / "images" / "size_study.png").stat().st_size > 1000


@pytest.mark.parametrize("context", study_counts.CONTEXTS)
def test_page_agrees_with_the_counts_of_the_repository(context):
    table = study_counts.read_counts(study_counts.COUNTS, context)
    title = f"Context `{context}`"
    _, found, rest = (ROOT / "docs" / "size_study.md").read_text().partition(title)
    assert bool(found) == (table is not None)
    if table is not None:
        rows = [line.split("|")[1:-1] for line in rest.split("\n\n")[1].splitlines()[2:]]
        seeds = table.groupby("variant")["seed"].nunique()
        assert {row[0].strip(" `"): int(row[1]) for row in rows} == dict(seeds[seeds > 1])
        sums = table[table["variant"] == "none"].groupby(["seed", "class_id", "side"])[["tp", "fp", "fn"]].sum()
        expected = (100 * sums["tp"] / sums.sum(axis=1)).groupby("side").mean()
        (shown,) = ([float(cell) for cell in row[2:]] for row in rows if row[0].strip(" `") == "none")
        np.testing.assert_allclose(shown, expected, atol=0.0501)


def test_figure_names_each_variant_in_the_order_of_the_study(counts):
    study = study_counts.read_studies(counts)["image"]
    pair = report.Study({name: study.groups[name] for name in ("none", "position")})
    comparison, part = (report.compare(each, baseline="none", resamples=20) for each in (study, pair))
    axes = script.figure({"row": part, "image": comparison}).axes
    assert [each.get_title() for each in axes] == ["channel", "position", "", ""]
    assert [each.get_ylabel() for each in axes] == ["row", "", "image", ""]
    assert [[text.get_text() for text in each.texts] for each in axes] == [["not run"], [], [], []]


def test_costs_are_relative_to_no_attention(tmp_path):
    assert script.cost_table(tmp_path) == []
    (tmp_path / "records" / "row").mkdir(parents=True)
    (tmp_path / "records" / "row" / "costs.csv").write_text(
        "name,input,parameters,multiply_adds,latency_ms,step_ms,machine\n"
        "none,8x3x64x64,458867,2000000,2.0,8.0,1 thread\nposition,8x3x64x64,470508,3000000,3.0,10.0,1 thread\n"
    )
    study_counts.add_records(tmp_path / "records", tmp_path)
    (text,) = script.cost_table(tmp_path)
    assert text.startswith("Costs of a batch of 8x3x64x64, 1 thread")
    assert text.splitlines()[-1] == "| `position` | 470,508 | 3 | 1.50 | 1.25 |"


def test_missing_counts_are_reported(tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main(["--counts", str(tmp_path)])
    assert "has no counts of two seeds of the variant none; add records with --add" in capsys.readouterr().err


def test_counts_give_the_scores_and_intervals_of_the_records(records, counts):
    """With one image in each group, nothing is lost."""
    summed = study_counts.read_studies(counts)["image"]
    assert summed.names == ["none", "channel", "position"]
    folder = records / "image" / "records" / "last"
    paths = [folder / f"{name}_seed_{seed}.parquet" for name in summed.names for seed in (0, 1)]
    columns = ["name", "size", "score", "difference", "difference_low", "difference_high"]
    tables = [
        report.compare(study, baseline="none", resamples=50).means.query("measure == 'miou' and size in @NAMES[:4]")
        for study in (report.load_runs(paths), summed)
    ]
    pd.testing.assert_frame_equal(*(table[columns].reset_index(drop=True) for table in tables))
    table = study_counts.read_counts(counts, "image")
    arrays = [part.sum(axis=-1) for part in script.count_arrays(table)]
    scores = report.size_table(summed).query("size in @NAMES[:4]")["miou"]
    np.testing.assert_allclose(np.ravel([script.mean_iou(array).mean(axis=0) for array in arrays]), scores)


def test_images_are_summed_in_groups_of_equal_size(records, monkeypatch):
    (path, *_) = sorted((records / "image" / "records" / "last").glob("*.parquet"))
    each = study_counts.run_counts(path)
    monkeypatch.setattr(study_counts, "GROUPS", 7)
    groups = study_counts.run_counts(path)
    key, values = ["class_id", "side"], ["tp", "fp", "fn"]
    assert groups.drop_duplicates("group")["images"].tolist() == [6, 6, 6, 5, 6, 6, 5]
    pd.testing.assert_frame_equal(groups.groupby(key)[values].sum(), each.groupby(key)[values].sum())
    first = each[each["group"] < 6].groupby(key)[values].sum()
    pd.testing.assert_frame_equal(groups[groups["group"] == 0].set_index(key)[values], first)


def test_added_records_keep_other_runs_and_replace_their_own(records, tmp_path):
    folder = records / "image" / "records" / "last"
    for names in (["none_seed_0", "none_seed_1"], ["none_seed_1", "position_seed_0"]):
        part = tmp_path / names[1] / "image" / "records" / "last"
        part.mkdir(parents=True)
        for name in names:
            (part / f"{name}.parquet").write_bytes((folder / f"{name}.parquet").read_bytes())
        study_counts.add_records(tmp_path / names[1], tmp_path)
    table = study_counts.read_counts(tmp_path, "image")
    runs = table.groupby(["variant", "seed"]).size()
    assert runs.to_dict() == dict.fromkeys([("none", 0), ("none", 1), ("position", 0)], 40 * 2 * 4)


def test_variances_of_simulated_runs_are_found():
    """Runs whose errors have a part by seed, and a part by image that all runs of a variant share."""
    rng = np.random.default_rng(0)
    images, runs, found = 300, 4, []
    for _ in range(30):
        counts = []
        for _ in range(2):
            shared, seed = rng.normal(0, 10, size=images), rng.normal(0, 3, size=(runs, 1))
            tp = np.clip(np.round(70 + shared + seed + rng.normal(0, 5, size=(runs, images))), 0, 100)
            each = np.stack([tp, np.zeros_like(tp), 100 - tp], axis=1)  # (run, (tp, fp, fn), image)
            counts.append(np.repeat(each[:, None, None], 2, axis=1))
        found.append(np.ravel(script.variances(*counts, simulations=200)))
    by_image, by_seed = np.mean(found, axis=0)
    assert by_image == pytest.approx(2 * 0.10**2, rel=0.1)
    assert by_seed == pytest.approx(2 * (0.03**2 + 0.05**2 / images), rel=0.2)


def test_more_seeds_and_images_find_smaller_differences(counts):
    lines = script.power_table(counts).splitlines()[2:]
    assert len(lines) == 4 * 3
    found = np.array([[float(cell) for cell in line.split("|")[4:7]] for line in lines]).reshape(4, 3, 3)
    assert (np.diff(found, axis=1) <= 0).all()
    assert (np.diff(found, axis=2) <= 0).all()


@pytest.mark.parametrize(
    ("expected", "low", "high", "adjusted", "decided"),
    [
        ("better", 1.0, 3.0, 0.01, "confirmed"),
        ("better", 1.0, 3.0, 0.06, "open"),
        ("better", -3.0, -1.0, 0.01, "refuted"),
        ("worse", -3.0, -1.0, 0.01, "confirmed"),
        ("equal", -0.9, 0.8, 0.5, "confirmed"),
        ("equal", -0.9, 1.1, 0.5, "open"),
        ("equal", 1.1, 2.0, 0.5, "refuted"),
        ("equal", -2.0, -1.1, 0.5, "refuted"),
    ],
)
def test_decisions(expected, low, high, adjusted, decided):
    interval = {"difference": (low + high) / 2, "difference_low": low, "difference_high": high}
    assert script.decision({"expected": expected, "p": 0.01, "adjusted_p": adjusted, **interval}) == decided


def test_hypotheses_name_variants_of_the_study():
    import yaml

    variants = yaml.safe_load((ROOT / "scripts" / "studies" / "controlled.yaml").read_text())
    hypotheses = yaml.safe_load(script.HYPOTHESES.read_text())
    assert [each["id"] for each in hypotheses] == list(range(1, len(hypotheses) + 1))
    for each in hypotheses:
        assert {each["variant"], each["other"]} <= set(variants)
        assert each["context"] in script.CONTEXTS
        assert each["size"] in script.SIDES
        assert each["expected"] in ("better", "worse", "equal")
