import cv2
import numpy as np
import pytest
import torch

from segattn.metrics import record_columns
from segattn.metrics.functional import attribute, object_rows, size_counts, target_objects
from segattn.objects import COLUMNS
from tests.metrics.cases import dense_case, drawn, sparse_case
from tests.oracles.error_kinds import error_rows
from tests.oracles.object_size import object_rows as oracle

EXACT = [c for c in COLUMNS if c not in ("image", "class_name", "max_width_px", "elongation")]


def as_rows(columns):
    lists = {name: [np.array(value).tolist() for value in values] for name, values in columns.items()}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def boundary(row):
    return {name: row[name] for name in ("fp_boundary", "fn_boundary")}


def key(row):
    return tuple(
        row[name] for name in ("class_id", "kind", "y0", "x0", "y1", "x1", "size_px", "tp", "fp", "boundary_px")
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [dense_case, sparse_case])
def test_all_columns_equal_the_oracle(make, seed):
    rng = np.random.default_rng(seed)
    for _ in range(60 if make is dense_case else 6):
        prediction, target, classes, instances = make(rng)
        columns = object_rows(prediction, target, classes, instances=instances)
        assert tuple(columns) == tuple(COLUMNS)
        found = sorted(as_rows(columns), key=key)
        rows = oracle(prediction, target, classes, instances=instances)
        kinds = error_rows(prediction, target, classes, width=1, instances=instances)
        wanted = sorted((row | boundary(of_kind) for row, of_kind in zip(rows, kinds, strict=True)), key=key)
        assert len(found) == len(wanted)
        for row, expected in zip(found, wanted, strict=True):
            assert {name: row[name] for name in EXACT} == {name: expected[name] for name in EXACT}
            assert row["max_width_px"] == pytest.approx(expected["max_width_px"])
            assert row["elongation"] == pytest.approx(expected["elongation"])


def test_hand_case_columns():
    target = drawn("0000000/0111100/0111100/0111100/00000x1")
    prediction = drawn("2000000/0111222/0111222/0111222/0000011")
    rows = object_rows(prediction, target, 3, image="town/a.png", class_names=("road", "car", "sign"))
    frame = {name: values.tolist() for name, values in rows.items()}
    assert frame["image"] == ["town/a.png"] * 5
    assert (frame["height"][0], frame["width"][0]) == (5, 7)
    assert frame["class_name"] == ["road", "car", "car", "sign", "sign"]
    assert frame["kind"] == ["object"] * 3 + ["false_positive"] * 2
    assert frame["size_px"] == [21, 12, 1, 1, 9]
    assert (frame["tp"], frame["fp"], frame["fn"]) == ([14, 9, 1, 0, 0], [0, 0, 0, 1, 9], [7, 3, 0, 0, 0])
    assert frame["recall"] == [14 / 21, 9 / 12, 1, 0, 0]
    assert [frame[side][1] for side in ("y0", "x0", "y1", "x1")] == [1, 1, 4, 5]
    assert (frame["boundary_px"][1], frame["max_width_px"][1], frame["elongation"][1]) == (10, 3, 12 / 9)
    assert frame["touches_border"] == [True, False, True, True, True]
    assert frame["touches_ignore"] == [True, True, True, False, True]
    assert frame["top_confusion"] == [2, 2, -1, 0, 0]
    assert [values.tolist() for values in frame["confused_class"]] == [[2], [2], [], [0], [0, 1]]
    assert [values.tolist() for values in frame["confused_px"]] == [[7], [3], [], [1], [6, 3]]


def test_merged_objects():
    target = drawn("1100110/0000000/1000000")
    prediction = drawn("1111110/0000000/1000000")
    rows = object_rows(prediction, target, 2)
    assert rows["merged"][rows["class_id"] == 1].tolist() == [True, True, False]


def test_rows_sum_to_the_counts_by_size():
    rng = np.random.default_rng(0)
    for _ in range(40):
        prediction, target, classes, instances = dense_case(rng)
        rows = object_rows(prediction, target, classes, instances=instances)
        objects = target_objects(target, classes, instances=instances)
        counts = size_counts(attribute(prediction, objects, classes), np.array([4]), classes)
        for c in range(classes):
            for bucket in range(2):
                chosen = (rows["class_id"] == c) & ((rows["size_px"] >= 4) == bucket)
                sums = [int(rows[name][chosen].sum()) for name in ("tp", "fp", "fn")]
                assert [*sums, int((rows["kind"][chosen] == "object").sum())] == counts[c, bucket].tolist()
        objects = rows["kind"] == "object"
        assert (rows["tp"] + rows["fn"] == rows["size_px"])[objects].all()
        assert ((rows["fp"] == 0) | (rows["tp"] > 0))[objects].all()


def test_rows_of_tensors_and_arrays():
    prediction, target = np.random.default_rng(1).integers(0, 3, (2, 9, 14))
    wanted = as_rows(object_rows(prediction, target, 3))
    assert as_rows(object_rows(torch.from_numpy(prediction), torch.from_numpy(target), 3)) == wanted


def test_rows_without_labelled_pixels():
    rows = object_rows(np.zeros((3, 4), int), np.full((3, 4), 255), 2)
    assert tuple(rows) == tuple(COLUMNS)
    assert all(len(values) == 0 for values in rows.values())


@pytest.mark.parametrize("shape", ["smooth", "rings"])
@pytest.mark.parametrize("largest_box", [0, 512])
def test_widths_of_false_positives_equal_those_of_the_same_objects(largest_box, shape, monkeypatch):
    monkeypatch.setattr(record_columns, "_LARGEST_BOX", largest_box)
    rng = np.random.default_rng(0)
    fields = (cv2.resize(rng.normal(size=(9, 12)), (160, 120), interpolation=cv2.INTER_CUBIC) for _ in range(4))
    y, x = np.mgrid[:120, :160]
    shapes = {"smooth": np.stack(list(fields)).argmax(0), "rings": np.hypot(y - 50, x - 70).astype(int) // 5 % 4}[shape]
    columns = ("size_px", "y0", "x0", "y1", "x1", "boundary_px", "max_width_px")
    objects = object_rows(np.zeros_like(shapes), shapes, 5)
    invented = object_rows(shapes, np.full_like(shapes, 4), 5)
    wrong = invented["kind"] == "false_positive"
    found, wanted = (
        sorted(zip(*(rows[name][chosen].tolist() for name in columns), strict=True))
        for rows, chosen in ((invented, wrong), (objects, objects["kind"] == "object"))
    )
    assert found == wanted
    assert len(found) > 20
