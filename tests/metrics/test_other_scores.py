import math

import numpy as np
import pytest
import torch

from segattn.metrics import BoundaryIoU, ImageLevelIoU, InstanceIoU
from segattn.metrics.functional import attribute, boundary_counts, boundary_width, target_objects
from tests.metrics.cases import drawn
from tests.oracles import scores as oracle


def maps(images=5, size=(11, 17), num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    target = np.kron(rng.integers(0, num_classes, (images, 6, 6)), np.ones((1, 2, 3), int))[:, : size[0], : size[1]]
    prediction = np.where(rng.random(target.shape) < 0.8, target, rng.integers(0, num_classes, target.shape))
    return prediction, np.where(rng.random(target.shape) < 0.1, 255, target), rng.integers(0, 3, target.shape)


def tensors(*arrays):
    return tuple(torch.from_numpy(array) for array in arrays)


def test_boundary_hand_case():
    target = drawn("0000000/0111110/0111110/0111110/0111110/0111110/0000000")
    prediction = drawn("0000000/0011111/0011111/0011111/0011111/0011111/0000000")
    both, true, predicted = boundary_counts(prediction, target, 2, width=1)[1]
    assert (true, predicted) == (16, 16)
    assert both == 8  # the upper and lower sides where the masks overlap


@pytest.mark.parametrize("width", [1, 2, 4, 30])
def test_boundary_counts_equal_the_oracle(width):
    for prediction, target, _ in zip(*maps(), strict=True):
        found = boundary_counts(prediction, target, 4, width=width)
        assert found.tolist() == oracle.boundary_counts(prediction, target, 4, width)


def test_boundary_iou_over_the_data_set():
    prediction, target, _ = maps()
    metric = BoundaryIoU(5, diagonal_fraction=0.08)
    metric.update(*tensors(prediction[:2], target[:2]))
    metric.update(*tensors(prediction[2:], target[2:]))
    width = boundary_width(*target.shape[1:], 0.08)
    assert width == round(0.08 * math.hypot(*target.shape[1:])) == 2
    pairs = zip(prediction, target, strict=True)
    both, true, predicted = np.sum([oracle.boundary_counts(p, t, 4, width) for p, t in pairs], axis=0).T
    wanted = both / (true + predicted - both)
    scores = metric.compute()
    assert scores["boundary_iou"][:4].tolist() == pytest.approx(wanted.tolist())
    assert math.isnan(scores["boundary_iou"][4])
    assert scores["boundary_miou"].item() == pytest.approx(wanted.mean())


@pytest.mark.parametrize("q", [1, 20, 50, 100])
def test_image_level_scores_equal_the_oracle(q):
    prediction, target, _ = maps(images=7)
    target[3] = 255  # an image without labels
    target[:5][target[:5] == 2] = 0  # a class that few images have
    metric = ImageLevelIoU(5, worst=(q,))
    metric.update(*tensors(prediction[:4], target[:4]))
    metric.update(*tensors(prediction[4:], target[4:]))
    scores = metric.compute()
    wanted = oracle.image_scores(list(zip(prediction, target, strict=True)), 5, q)
    assert {name: scores[name].item() for name in wanted} == pytest.approx(wanted)


def test_image_level_hand_case():
    target = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 0]]])
    prediction = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 1]]])
    metric = ImageLevelIoU(3, worst=(50,))
    metric.update(prediction, target)
    scores = {name: value.item() for name, value in metric.compute().items()}
    image = (1 / 2 + 2 / 3) / 2
    assert scores["miou_image"] == pytest.approx((image + 3 / 4) / 2)
    assert scores["miou_class"] == pytest.approx(((1 / 2 + 3 / 4) / 2 + 2 / 3) / 2)
    assert scores["miou_image_worst50"] == pytest.approx(image)
    assert scores["miou_class_worst50"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores["miou_image_worst"] == pytest.approx((9 * image + (image + 3 / 4) / 2) / 10)


def test_image_level_counts_merge():
    prediction, target, _ = maps()
    whole, first, second = (ImageLevelIoU(4) for _ in range(3))
    whole.update(*tensors(prediction, target))
    first.update(*tensors(prediction[:2], target[:2]))
    second.update(*tensors(prediction[2:], target[2:]))
    first.merge_state(second)
    assert first.compute() == whole.compute()


def test_instance_iou_equals_the_oracle():
    prediction, target, instances = maps()
    metric = InstanceIoU(4, {1: 40.5, 3: 7.0})
    rows = [
        attribute(labels, target_objects(true, 4, instances=ids), 4)
        for labels, true, ids in zip(prediction, target, instances, strict=True)
    ]
    metric.update(rows[:2])
    metric.update(rows[2:])
    images = list(zip(prediction, target, instances, strict=True))
    wanted = [oracle.instance_iou(images, c, size) for c, size in ((1, 40.5), (3, 7.0))]
    scores = metric.compute()
    assert scores["iiou"][[1, 3]].tolist() == pytest.approx(wanted)
    assert scores["iiou"].isnan().tolist() == [True, False, True, False]
    assert scores["miiou"].item() == pytest.approx(np.mean(wanted))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: BoundaryIoU(2, diagonal_fraction=0.0), "must be positive, got 0.0"),
        (lambda: ImageLevelIoU(2, worst=(0,)), r"1 to 100, got \[0\]"),
    ],
)
def test_invalid_arguments(make, what):
    with pytest.raises(ValueError, match=what):
        make()


@pytest.mark.parametrize(
    "update",
    [
        lambda a, b: BoundaryIoU(2).update(a, b),
        lambda a, b: ImageLevelIoU(2).update(a, b),
    ],
)
def test_shape_mismatch(update):
    with pytest.raises(ValueError, match=r"the same shape, got \(1, 2, 3\) and \(1, 3, 2\)"):
        update(torch.zeros(1, 2, 3).long(), torch.zeros(1, 3, 2).long())
