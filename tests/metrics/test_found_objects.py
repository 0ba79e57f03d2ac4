import math

import numpy as np
import pytest
import torch

from segattn.metrics import ObjectSizeIoU
from segattn.metrics.functional import attribute, found_counts, found_scores, object_rows, target_objects
from segattn.objects import ObjectSizes
from segattn.objects.found import is_false_alarm, is_found
from tests.metrics.cases import HAND_CASES, dense_case, drawn, sparse_case
from tests.oracles.object_size import found_counts as oracle

EDGES = np.array([2, 3, 4, 6, 9, 12, 16, 20, 30, 50, 100])
FOUND = {
    # case: {class: {bucket: (found, false alarms)}}; omitted cells are zero
    "perfect": {1: {"S": (1, 0), "M": (1, 0)}, 0: {"L": (1, 0)}},
    "miss": {1: {"M": (1, 0)}, 0: {"L": (1, 0)}},
    "hallucination": {1: {"S": (0, 1), "M": (1, 0)}, 0: {"L": (1, 0)}},
    "dilation": {1: {"M": (1, 0)}, 0: {"L": (1, 0)}},
    "bounded blame": {1: {"S": (1, 0)}, 0: {"L": (1, 0)}},  # the excess is not a region
    "diagonal": {1: {"M": (1, 0)}, 0: {"L": (1, 0)}},
    "ignore column": {1: {"M": (2, 0)}, 0: {"M": (2, 0)}},
}


def counted(prediction, target, num_classes, edges=EDGES, *, instances=None):
    objects = target_objects(target, num_classes, instances=instances)
    return found_counts(attribute(prediction, objects, num_classes), edges, num_classes)


@pytest.mark.parametrize("case", FOUND)
@pytest.mark.parametrize("count", [counted, oracle])
def test_hand_cases(case, count):
    target, prediction, _ = HAND_CASES[case]
    wanted = np.zeros((2, 3, 2), dtype=int)
    for class_id, cells in FOUND[case].items():
        for bucket, cell in cells.items():
            wanted[class_id, "SML".index(bucket)] = cell
    assert count(drawn(prediction), drawn(target), 2, np.array([4, 9])).tolist() == wanted.tolist()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [dense_case, sparse_case])
def test_counts_equal_the_oracle(make, seed):
    rng = np.random.default_rng(seed)
    for _ in range(100 if make is dense_case else 10):
        prediction, target, classes, instances = make(rng)
        wanted = oracle(prediction, target, classes, EDGES, instances=instances)
        assert counted(prediction, target, classes, instances=instances).tolist() == wanted.tolist()


@pytest.mark.parametrize("recall", [(0, 1), (1, 10), (3, 10), (1, 2), (7, 10), (9, 10)])
def test_recalls_equal_to_the_threshold_are_not_found(recall):
    rng = np.random.default_rng(0)
    for _ in range(30):
        prediction, target, classes, instances = dense_case(rng)
        rows = object_rows(prediction, target, classes, instances=instances)
        found = rows["class_id"][is_found(rows["tp"], rows["size_px"], recall[0] / recall[1])]
        alarms = rows["class_id"][is_false_alarm(rows["tp"], rows["fp"], rows["size_px"])]
        wanted = oracle(prediction, target, classes, (), instances=instances, recall=recall)[:, 0]
        assert np.bincount(found, minlength=classes).tolist() == wanted[:, 0].tolist()
        assert np.bincount(alarms, minlength=classes).tolist() == wanted[:, 1].tolist()
    assert not is_found(np.array([5]), np.array([10])).any()


@pytest.mark.parametrize("recall", [-0.1, 1.0, float("nan")])
def test_thresholds_out_of_range(recall):
    with pytest.raises(ValueError, match="must be at least 0 and below 1, got"):
        is_found(np.array([1]), np.array([1]), recall)


def test_scores_by_hand():
    """One bin; of class 0, 1 of 4 objects and 3 false alarms; class 1 has nothing; class 2 only a false alarm."""
    counts = torch.tensor([[[1, 3]], [[0, 0]], [[0, 1]], [[2, 0]]])
    scores = found_scores(counts, torch.tensor([[4], [0], [0], [2]]), torch.tensor(8))
    assert {key: value.item() for key, value in scores.items()} == {
        "found": (1 / 4 + 1) / 2,
        "found_precision": (1 / 4 + 1) / 2,
        "found_f1": (2 / 8 + 1) / 2,
        "false_alarms": 4 / 8,
    }
    scores = found_scores(counts, torch.tensor([[4], [0], [0], [2]]), torch.tensor(8), min_objects=5)
    assert all(math.isnan(scores[key]) for key in ("found", "found_precision", "found_f1"))


def test_scores_of_the_metric():
    target = torch.from_numpy(drawn("0000000/0111100/0111100/0111100/00000x1"))
    prediction = torch.from_numpy(drawn("2000000/0111222/0111222/0111222/0000011"))
    metric = ObjectSizeIoU(3, ObjectSizes(edges=(4.0, 9.0)), things=(1, 2))
    metric.update(target[None], target[None])
    metric.update(prediction[None], target[None])
    scores = metric.compute()
    # Of class 2 the regions of 1 and of 9 pixels are false alarms.
    assert [scores[f"false_alarms{size}"].item() for size in ("", "_small", "_medium", "_large")] == [1, 0.5, 0, 0.5]
    assert scores["found"].item() == scores["found_f1_things"].item() == 1
    assert scores["found_share"].tolist()[1] == [1, 1, pytest.approx(math.nan, nan_ok=True), 1]
    assert scores["alarms"].tolist() == [[0] * 4, [0] * 4, [2, 1, 0, 1]]
    metric.reset()
    assert metric.images == metric.found.sum() == 0
