import numpy as np
import pytest

from segattn.metrics import error_kinds
from segattn.metrics.functional import attribute, object_rows, target_objects
from segattn.objects.found import is_false_alarm
from tests.metrics.cases import dense_case, sparse_case
from tests.oracles import error_kinds as oracle

KINDS = ("boundary", "extent", "segment")


def counted(prediction, target, classes, width, instances=None):
    """Sorted tuples of every row: class, size, tp, fp, fn, and the errors of each kind."""
    rows = attribute(prediction, target_objects(target, classes, instances=instances), classes)
    found = error_kinds.error_kinds(rows, width)
    fp_segment = rows.fp * is_false_alarm(rows.tp, rows.fp, rows.size)
    fn_segment = rows.fn * (rows.tp == 0)
    fp, fn = found["fp_boundary"], found["fn_boundary"]
    parts = (fp, rows.fp - fp - fp_segment, fp_segment, fn, rows.fn - fn - fn_segment, fn_segment)
    return sorted(zip(rows.class_id, rows.size, rows.tp, rows.fp, rows.fn, *parts, strict=True))


def wanted(prediction, target, classes, width, instances=None):
    rows = oracle.error_rows(prediction, target, classes, width, instances=instances)
    names = [f"{side}_{kind}" for side in ("fp", "fn") for kind in KINDS]
    return sorted(tuple(row[name] for name in ("class_id", "size_px", "tp", "fp", "fn", *names)) for row in rows)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [dense_case, sparse_case])
@pytest.mark.parametrize("small", [False, True])
def test_kinds_equal_the_oracle(make, seed, small, monkeypatch):
    if small:
        monkeypatch.setattr(error_kinds, "_ROWS", 3)
        monkeypatch.setattr(error_kinds, "_CLASSES", 2)
        monkeypatch.setattr(error_kinds, "_PIXELS_PER_QUERY", seed % 2)
    rng = np.random.default_rng((seed, small))
    for _ in range(40 if make is dense_case else 5):
        prediction, target, classes, instances = make(rng)
        width = int(rng.integers(1, 5))
        rows = counted(prediction, target, classes, width, instances)
        assert rows == wanted(prediction, target, classes, width, instances)
        assert all(min(row) >= 0 for row in rows)


@pytest.mark.parametrize("classes", [40, 255])
def test_kinds_with_many_classes(classes):
    rng = np.random.default_rng(classes)
    target = np.kron(rng.permutation(classes)[:40].reshape(5, 8), np.ones((3, 3), int))
    target[0, 0] = classes - 1
    prediction = np.where(rng.random(target.shape) < 0.5, target, np.roll(target, 1, 1))
    assert counted(prediction, target, classes, 2) == wanted(prediction, target, classes, 2)


@pytest.mark.parametrize("distance", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint64])
@pytest.mark.parametrize("pixels_per_query", [0, 16])
def test_bits_within_a_distance(distance, dtype, pixels_per_query, monkeypatch):
    monkeypatch.setattr(error_kinds, "_ROWS", 8)
    monkeypatch.setattr(error_kinds, "_PIXELS_PER_QUERY", pixels_per_query)
    words = np.zeros((33, 40), dtype=dtype)
    words[3, 5], words[20, 17] = 1, 2
    inner = np.zeros(words.shape, dtype=bool)
    inner[distance:-distance, distance:-distance] = True
    at = np.flatnonzero(inner)
    y, x = np.divmod(at, 40)
    near = [np.round(np.hypot(y - a, x - b)) <= distance for a, b in ((3, 5), (20, 17))]
    assert (error_kinds.bits_within(words, at, error_kinds.disk(distance)) == near[0] + 2 * near[1]).all()
    near = [(abs(y - a) <= distance) & (abs(x - b) <= distance) for a, b in ((3, 5), (20, 17))]
    assert (error_kinds.bits_within(words, at, error_kinds.square(distance)) == near[0] + 2 * near[1]).all()


CORNER = 4 * 4 + 2 * 4 * 4 + 13
"""Errors near the corner of an error between a TP and a TN: those within 4 pixels of both, and those near these."""


def scene():
    """Two squares of class 1 and a large one of class 2; the band is 4 pixels wide."""
    target = np.zeros((200, 300), dtype=int)
    target[20:50, 20:50] = target[20:50, 100:130] = 1
    target[100:180, 150:250] = 2
    return target


def corrupted(how):
    target = scene()
    prediction = target.copy()
    if how == "shifted":
        return np.roll(target, (2, 3), (0, 1))
    if how == "eroded":
        prediction[target == 1] = 0
        prediction[23:47, 23:47] = prediction[23:47, 103:127] = 1
    if how == "dropped":
        prediction[20:50, 20:50] = 0
    if how == "invented":
        prediction[100:110, 20:40] = 1
    if how == "merged":
        prediction[20:50, 50:100] = 1
    if how == "cut":
        prediction[20:50, 30:50] = 0
    return prediction


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        # (fp_boundary, fp_extent, fp_segment, fn_boundary, fn_extent, fn_segment) of class 1
        ("shifted", (2 * (900 - 27 * 28), 0, 0, 2 * (900 - 27 * 28), 0, 0)),
        ("eroded", (0, 0, 0, 2 * (900 - 24 * 24), 0, 0)),
        ("dropped", (0, 0, 0, 0, 0, 900)),
        ("invented", (0, 0, 200, 0, 0, 0)),
        ("cut", (0, 0, 0, 2 * CORNER, 600 - 2 * CORNER, 0)),
        ("merged", (4 * CORNER, 1500 - 4 * CORNER, 0, 0, 0, 0)),
    ],
)
def test_kinds_of_corruptions(how, wanted):
    rows = object_rows(corrupted(how), scene(), 3)
    own = rows["class_id"] == 1
    alarm, missed = is_false_alarm(rows["tp"], rows["fp"], rows["size_px"]), rows["tp"] == 0
    fp, fn = rows["fp"][own].sum(), rows["fn"][own].sum()
    boundary = [rows[f"{side}_boundary"][own].sum() for side in ("fp", "fn")]
    segment = [rows["fp"][own & alarm].sum(), rows["fn"][own & missed].sum()]
    extent = [fp - boundary[0] - segment[0], fn - boundary[1] - segment[1]]
    assert (boundary[0], extent[0], segment[0], boundary[1], extent[1], segment[1]) == wanted
