import math
import pickle

import pytest
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index

from segattn.metrics import ConfusionMetric
from segattn.metrics.functional import confusion_counts, confusion_scores


def test_hand_case_with_ignored_pixels():
    target = torch.tensor([[[0, 0, 1], [1, 255, 255]]])
    prediction = torch.tensor([[[0, 1, 1], [1, 0, 99]]])
    confusion = confusion_counts(prediction, target, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    scores = confusion_scores(confusion)
    assert scores["iou"][:2].tolist() == [1 / 2, 2 / 3]
    assert math.isnan(scores["iou"][2])
    assert scores["miou"].item() == (1 / 2 + 2 / 3) / 2
    assert scores["pixel_accuracy"].item() == 3 / 4
    assert scores["mean_accuracy"].item() == 3 / 4
    assert scores["mean_precision"].item() == (1 + 2 / 3) / 2
    assert scores["f1"][:2].tolist() == [2 / 3, 4 / 5]
    assert scores["frequency_weighted_iou"].item() == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 2 / 3)


def test_absent_classes_and_classes_that_are_only_predicted():
    target = torch.tensor([0] * 10 + [1] * 10)  # class 2 nowhere, class 3 only predicted
    prediction = torch.tensor([0] * 9 + [3] + [1] * 10)
    scores = confusion_scores(confusion_counts(prediction, target, 4))
    assert scores["miou"].item() == pytest.approx((0.9 + 1 + 0) / 3)  # as OpenMMLab and the Cityscapes scripts
    assert scores["mean_accuracy"].item() == pytest.approx(0.95)
    assert scores["recall"].isnan().tolist() == [False, False, True, True]
    assert scores["precision"].isnan().tolist() == [False, False, True, False]
    assert scores["f1"].isnan().tolist() == [False, False, True, False]


def test_agrees_with_torchmetrics():
    target, prediction = torch.randint(0, 6, (3, 7, 11)), torch.randint(0, 5, (3, 7, 11))
    target[target == 5] = 255
    expected = multiclass_confusion_matrix(prediction, target, 5, ignore_index=255)
    confusion = confusion_counts(prediction, target, 5)
    assert torch.equal(confusion, expected)
    miou = multiclass_jaccard_index(prediction, target, 5, ignore_index=255)
    assert confusion_scores(confusion)["miou"].item() == pytest.approx(miou.item(), abs=1e-6)


def test_metric_state():
    target, prediction = torch.randint(0, 4, (5, 6, 9)), torch.randint(0, 4, (5, 6, 9))
    whole, first, second = (ConfusionMetric(4) for _ in range(3))
    whole.update(prediction, target)
    first.update(prediction[:2], target[:2])
    second.update(prediction[2:], target[2:])
    first = pickle.loads(pickle.dumps(first))
    first.merge_state(second)
    assert torch.equal(first.confusion, whole.confusion)
    assert first.confusion.dtype == torch.int64
    first.reset()
    assert first.confusion.sum() == 0


def test_scores_without_pixels_are_nan():
    scores = confusion_scores(confusion_counts(torch.zeros(2, 2).long(), torch.full((2, 2), 255), 3))
    assert all(value.isnan().all() for value in scores.values())


@pytest.mark.parametrize(
    ("prediction", "target", "what"),
    [
        ([[0, 3]], [[0, 0]], "prediction holds class 3 on a valid pixel; allowed are 0 to 2"),
        ([[0, 0]], [[0, 254]], "target holds class 254 on a valid pixel"),
        ([[0, -1]], [[0, 0]], "prediction holds class -1"),
        ([[0, 0]], [[0], [0]], r"the same shape, got \(1, 2\) and \(2, 1\)"),
    ],
)
def test_invalid_maps(prediction, target, what):
    with pytest.raises(ValueError, match=what):
        confusion_counts(torch.tensor(prediction), torch.tensor(target), 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_an_ignored_value_outside_of_the_type_of_the_labels(dtype):
    """-100 is 156 in uint8, which is a class here."""
    counts = confusion_counts(torch.tensor([[3, 3]]), torch.tensor([[156, 3]], dtype=dtype), 171, ignore_index=-100)
    assert counts.sum() == 2
    assert counts[156, 3] == 1
