"""Truths that are shifted, eroded, dilated, and that lose or gain objects: every number equals the plain oracles."""

import cv2
import numpy as np
import pytest
from PIL import Image

from segattn.objects import ObjectSizes, read_confusions, read_record
from segattn.report import load_runs, run_scores
from segattn.score import score_folder
from tests.oracles import object_size as oracle
from tests.oracles.error_kinds import error_rows

CLASSES, IGNORED, EDGES = 4, 255, (5.0, 16.0)
SHAPE = (12, 17)


def synthetic(random):
    """Rectangles of the classes 1 to 3 and of ignored pixels on class 0."""
    target = np.zeros(SHAPE, dtype=np.uint8)
    for value in random.choice([1, 2, 3, IGNORED], 7):
        y, x = random.integers(0, SHAPE[0]), random.integers(0, SHAPE[1])
        target[y : y + random.integers(1, 6), x : x + random.integers(1, 6)] = value
    return target


def eroded(target, random):
    return np.where(cv2.erode(target, np.ones((3, 3), np.uint8)) == target, target, 0)


def merged(target, random):
    """Each class grows into the background, so that neighbors touch."""
    known = np.where(target == IGNORED, 0, target)
    return np.where(known == 0, cv2.dilate(known, np.ones((3, 3), np.uint8)), known)


def dropped(target, random):
    for value in (1, 2, 3):
        number, labels = cv2.connectedComponents((target == value).astype(np.uint8), connectivity=8)
        target = np.where(labels == random.integers(1, max(number, 2)), 0, target)
    return target


def invented(target, random):
    y, x = random.integers(0, SHAPE[0] - 3), random.integers(0, SHAPE[1] - 4)
    target[y : y + 3, x : x + 4] = random.integers(1, CLASSES)
    return target


CORRUPTIONS = {
    "shifted": lambda target, random: np.roll(target, random.integers(-2, 3, 2), (0, 1)),
    "eroded": eroded,
    "merged": merged,
    "dropped": dropped,
    "invented": invented,
}


def write_and_score(folder, pairs, instances):
    (folder / "classes.yaml").write_text(
        "ignore: [255]\nclasses:\n" + "".join(f"- {{name: c{value}, label: {value}}}\n" for value in range(CLASSES))
    )
    kinds = ("truth", "masks", "instances") if instances else ("truth", "masks")
    for index, files in enumerate(pairs):
        for kind, array in zip(kinds, files, strict=False):
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / kind / f"{index}.png")
    options = {"instances": folder / "instances"} if instances else {}
    options |= {"classes": folder / "classes.yaml", "sizes": ObjectSizes(edges=EDGES)}
    return score_folder(folder / "truth", folder / "masks", folder / "out.parquet", **options).record


def check(folder, pairs, *, instances=False):
    """Compare the record of the pairs, and its scores, with the oracles."""
    record = write_and_score(folder, pairs, instances)
    found = read_record(record).rows
    expected, errors = [], []
    sizes, alarms = np.zeros((CLASSES, 3, 4)), np.zeros((CLASSES, 3, 2))
    costs, confusion = np.zeros((CLASSES, 3, 3)), np.zeros((CLASSES, CLASSES), dtype=int)
    for index, (target, prediction, ids) in enumerate(pairs):
        arguments = {"instances": ids if instances else None}
        name = {"image": f"{index}.png"}
        expected += [name | row for row in oracle.object_rows(prediction, target, CLASSES, **arguments)]
        errors += [name | row for row in error_rows(prediction, target, CLASSES, 1, **arguments)]
        sizes += oracle.size_counts(prediction, target, CLASSES, EDGES, **arguments)
        alarms += oracle.found_counts(prediction, target, CLASSES, EDGES, **arguments)
        valid = target != IGNORED
        np.add.at(confusion, (target[valid], prediction[valid]), 1)

    def row_key(row):
        return tuple(row[key] for key in ("image", "class_id", "kind", "y0", "x0", "y1", "x1", "size_px", "tp", "fp"))

    rows = sorted(found.to_dict("records"), key=row_key)
    for row, wanted in zip(rows, sorted(expected, key=row_key), strict=True):
        for key, value in wanted.items():
            assert list(row[key]) == value if isinstance(value, list) else row[key] == pytest.approx(value), (key, row)
    kinds = [f"{side}_boundary" for side in ("fp", "fn")]
    counted = ["image", "class_id", "kind", "size_px", "tp", "fp", "fn", *kinds]
    assert sorted(found[counted].itertuples(index=False, name=None)) == sorted(
        tuple(row[key] for key in counted) for row in errors
    )
    for row in errors:
        bucket = sum(edge <= row["size_px"] for edge in EDGES)
        both = [row[f"fp_{kind}"] + row[f"fn_{kind}"] for kind in ("boundary", "extent", "segment")]
        costs[row["class_id"], bucket] += both
    assert (costs.sum(-1) == sizes[:, :, 1:3].sum(-1)).all(), "the kinds add up to the false pixels"
    objects = found["kind"] == "object"
    confused = read_confusions(record)
    confused = confused[objects.to_numpy()[confused["row"]]]
    assert found.loc[objects].groupby("class_id")["tp"].sum().reindex(range(CLASSES), fill_value=0).tolist() == (
        confusion.diagonal().tolist()
    )
    table = np.diag(confusion.diagonal())
    np.add.at(table, (found["class_id"].to_numpy()[confused["row"]], confused["other"]), confused["px"])
    assert table.tolist() == confusion.tolist()

    scores, bins = run_scores(load_runs([record]).runs[0])
    with np.errstate(invalid="ignore"):
        union = sizes[:, :, :3].sum(-1)
        np.testing.assert_array_equal(bins.bucket_objects, sizes[:, :, 3])
        np.testing.assert_allclose(scores.bucket_iou, sizes[:, :, 0] / union)
        np.testing.assert_allclose(scores.iou, sizes[:, :, 0].sum(1) / union.sum(1))
        np.testing.assert_allclose(scores.class_found[:, 1:], alarms[:, :, 0] / sizes[:, :, 3])
        np.testing.assert_allclose(scores.class_false_alarms[:, 1:], alarms[:, :, 1] / len(pairs))
        lost = np.stack([scores.lost_boundary, scores.lost_extent, scores.lost_segment], -1)
        np.testing.assert_allclose(lost[0], np.nanmean(costs.sum(1) / union.sum(1)[:, None], 0))
        counts = np.where(sizes[:, :, 3:] > 0, costs / union[..., None], np.nan)
    for bucket in np.flatnonzero(sizes[:, :, 3].sum(0)):
        np.testing.assert_allclose(lost[bucket + 1], np.nanmean(counts[:, bucket], 0))


@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_corrupted_synthetic_masks(tmp_path, corruption, instances):
    random = np.random.default_rng(list(CORRUPTIONS).index(corruption))
    pairs = []
    for _ in range(4):
        target = synthetic(random)
        mask = CORRUPTIONS[corruption](target.copy(), random)
        ids = random.integers(0, 3, (4, 6)).repeat(3, 0).repeat(3, 1)[:, : SHAPE[1]]
        pairs.append((target, np.where(mask == IGNORED, random.integers(0, CLASSES, SHAPE), mask), ids))
    check(tmp_path, pairs, instances=instances)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_corrupted_real_masks(shared_data, tmp_path, corruption):
    """CamVid masks, with every 30th row and 28th column and the classes grouped into four."""
    random, pairs = np.random.default_rng(0), []
    for path in sorted((shared_data / "camvid/annotations/val").glob("*.png"))[:2]:
        with Image.open(path) as image:
            labels = np.array(image)[::30, ::28][: SHAPE[0], : SHAPE[1]]
        target = np.where(labels == 11, IGNORED, labels % CLASSES).astype(np.uint8)
        mask = CORRUPTIONS[corruption](target.copy(), random)
        pairs.append((target, np.where(mask == IGNORED, 0, mask), None))
    check(tmp_path, pairs)
