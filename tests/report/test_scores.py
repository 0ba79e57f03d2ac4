import numpy as np
import pytest
import torch

from segattn.metrics import ConfusionMetric, ObjectSizeIoU
from segattn.objects import ObjectSizes
from segattn.report import load_runs, run_scores
from segattn.report.scores import FOUND_MEASURES, KINDS, Bins, count_cells, object_cells, row_bins, row_buckets, score
from tests.oracles import report as oracle
from tests.report.records import EDGES, NAMES, predicted, scenes, write_record


@pytest.mark.parametrize(("edges", "relative", "min_objects"), [(EDGES, False, 1), ((0.01, 0.07), True, 4)])
def test_record_reproduces_the_scores_of_the_metrics(tmp_path, edges, relative, min_objects):
    options = {"edges": edges, "relative": relative, "min_objects": min_objects}
    run = load_runs([write_record(tmp_path / "objects.parquet", **options)]).runs[0]
    scores, bins = run_scores(run)
    metric, confusion = (
        ObjectSizeIoU(7, ObjectSizes(names=NAMES, **options | {"edges": tuple(map(float, edges))})),
        ConfusionMetric(7),
    )
    rng = np.random.default_rng(0)
    for _, mask in scenes():
        target = torch.from_numpy(mask.astype(np.int64))[None]
        prediction = torch.from_numpy(predicted(mask, rng, lost=0.3, noise=3).astype(np.int64))[None]
        metric.update(prediction, target)
        confusion.update(prediction, target)
    sizes, whole = metric.compute(), confusion.compute()
    assert (scores.miou, scores.pixel_accuracy) == (whole["miou"].item(), whole["pixel_accuracy"].item())
    assert scores.mean_accuracy == whole["mean_accuracy"].item()
    for b, name in enumerate(NAMES):
        assert scores.bucket_miou[b] == pytest.approx(sizes[f"miou_{name}"].item(), rel=1e-15, nan_ok=True)
        assert scores.bucket_mrecall[b] == pytest.approx(sizes[f"mrecall_{name}"].item(), rel=1e-15, nan_ok=True)
        assert bins.bucket_supported[:, b].sum() == sizes[f"classes_{name}"]
    np.testing.assert_array_equal(scores.bucket_iou, sizes["iou"])
    np.testing.assert_array_equal(bins.bucket_objects, sizes["objects"])
    np.testing.assert_allclose(scores.curve_miou, sizes["curve_miou"], rtol=1e-15)
    counts = count_cells(run).sum(axis=1).reshape(7, -1, 7)
    np.testing.assert_array_equal(counts[..., :3], metric.counts[..., :3])
    np.testing.assert_array_equal(counts[..., 3:5], metric.found)
    for measure in FOUND_MEASURES:
        logged = [sizes[f"{measure}{suffix}"].item() for suffix in ("", *(f"_{name}" for name in NAMES))]
        np.testing.assert_allclose(getattr(scores, measure), logged, rtol=1e-15)
    np.testing.assert_array_equal(scores.class_found, sizes["found_share"])
    np.testing.assert_array_equal(scores.class_false_alarms * 6, sizes["alarms"])


def test_resampled_scores_equal_those_of_repeated_rows(study):
    run, rng = study.runs[0], np.random.default_rng(0)
    cells, objects = count_cells(run), object_cells(run)
    bins = Bins(run.info, objects.sum(axis=1).reshape(7, -1))
    supported = {tuple(cell) for cell in np.argwhere(bins.bucket_supported)}
    rows = run.rows.assign(bucket=row_buckets(run)).to_dict("records")
    weights = rng.multinomial(8, [1 / 8] * 8, size=5).astype(float)
    counts, objects = (cells @ weights.T).reshape(7, -1, 7, 5), (objects @ weights.T).reshape(7, -1, 5)
    found = score(counts, objects, weights.sum(1), bins)
    supported |= {(c, None) for c in range(7) if bins.size_supported[c, 0]}
    for number, weight in enumerate(weights):
        drawn = [row for row in rows for _ in range(int(weight[int(row["image"][:3])]))]
        wanted = oracle.scores(drawn, 7, 3, supported)
        assert found.miou[number] == pytest.approx(wanted["miou"])
        assert found.mean_accuracy[number] == pytest.approx(wanted["mean_accuracy"])
        for b in range(3):
            assert found.bucket_miou[b, number] == pytest.approx(wanted[f"miou_{b}"], nan_ok=True)
            assert found.bucket_mrecall[b, number] == pytest.approx(wanted[f"mrecall_{b}"], nan_ok=True)
        wanted = oracle.found_scores(drawn, 7, 3, supported, images=8)
        for size, values in enumerate(wanted.values()):
            own = [getattr(found, measure)[size, number] for measure in FOUND_MEASURES]
            assert own == pytest.approx(values, nan_ok=True)

        wanted = oracle.lost_scores(drawn, 7, 3, supported)
        for size, values in enumerate(wanted.values()):
            own = [getattr(found, f"lost_{kind}")[size, number] for kind in KINDS]
            assert own == pytest.approx(values, nan_ok=True)
            miou = found.bucket_miou[size - 1, number] if size else found.miou[number]
            assert np.isnan(miou) or miou + sum(own) == pytest.approx(1)


def test_size_equal_to_an_edge_belongs_to_the_bin_above(tmp_path):
    run = load_runs([write_record(tmp_path / "a.parquet", images=1)]).runs[0]
    run.rows.loc[0, "size_px"], run.rows.loc[1, "size_px"] = 399, 400
    assert row_buckets(run)[:2].tolist() == [0, 1]
    assert row_bins(run)[:2].tolist() == [2, 3]  # 64, 256, 400, ...
