import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from segattn.metrics import nearest
from segattn.metrics.functional import attribute, size_counts, target_objects
from tests.metrics.cases import HAND_CASES, dense_case, drawn, sparse_case
from tests.oracles.object_size import size_counts as oracle

EDGES = np.array([2, 3, 4, 6, 9, 12, 16, 20, 30, 50, 100])


def counted(prediction, target, num_classes, edges=EDGES, *, instances=None):
    objects = target_objects(target, num_classes, instances=instances)
    return size_counts(attribute(prediction, objects, num_classes), edges, num_classes)


@pytest.mark.parametrize("case", HAND_CASES)
@pytest.mark.parametrize("count", [counted, oracle])
def test_hand_cases(case, count):
    target, prediction, expected = HAND_CASES[case]
    found = count(drawn(prediction), drawn(target), 2, np.array([4, 9]))
    wanted = np.zeros((2, 3, 4), dtype=int)
    for class_id, cells in expected.items():
        for bucket, cell in cells.items():
            wanted[class_id, "SML".index(bucket)] = cell
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("make", [dense_case, sparse_case])
@pytest.mark.parametrize("chunk", [20, nearest.CHUNK])
def test_counts_equal_the_oracle(make, seed, chunk, monkeypatch):
    monkeypatch.setattr(nearest, "CHUNK", chunk)  # small: process small maps in parts, as large ones
    rng = np.random.default_rng((seed, chunk))
    for _ in range(150 if make is dense_case else 12):
        prediction, target, classes, instances = make(rng)
        found = counted(prediction, target, classes, instances=instances)
        wanted = oracle(prediction, target, classes, EDGES, instances=instances)
        assert found.tolist() == wanted.tolist(), (prediction.tolist(), target.tolist(), instances)


def confusion_parts(prediction, target, num_classes):
    confusion = multiclass_confusion_matrix(
        torch.from_numpy(prediction), torch.from_numpy(target), num_classes, ignore_index=255
    )
    tp = confusion.diagonal()
    return torch.stack([tp, confusion.sum(0) - tp, confusion.sum(1) - tp], dim=1).numpy()


@pytest.mark.parametrize("num_classes", [2, 3, 150, 300])
def test_buckets_sum_to_the_confusion_counts(num_classes):
    rng = np.random.default_rng(num_classes)
    blocks = rng.integers(0, num_classes, (2, 9, 13))
    target, prediction = np.kron(blocks, np.ones((1, 6, 5), int))
    prediction = np.where(rng.random(target.shape) < 0.7, target, prediction)
    target = np.where(rng.random(target.shape) < 0.1, 255, target)
    if num_classes > 255:
        prediction[prediction == 255] = target[target == 255] = 0
    counts = counted(prediction, target, num_classes)
    assert counts.sum(1)[:, :3].tolist() == confusion_parts(prediction, target, num_classes).tolist()


def test_class_permutation():
    rng = np.random.default_rng(0)
    for _ in range(50):
        prediction, target, classes, instances = dense_case(rng)
        order = np.append(rng.permutation(classes), [0] * (255 - classes) + [255])
        permuted = counted(order[prediction], order[target], classes, instances=instances)
        assert permuted[order[:classes]].tolist() == counted(prediction, target, classes, instances=instances).tolist()


def test_ignored_pixels_have_no_effect():
    rng = np.random.default_rng(1)
    for _ in range(50):
        prediction, target, classes, instances = dense_case(rng)
        other = np.where(target == 255, rng.integers(-9, 999, target.shape), prediction)
        assert (
            counted(other, target, classes, instances=instances).tolist()
            == counted(prediction, target, classes, instances=instances).tolist()
        )


def test_perfect_prediction():
    rng = np.random.default_rng(2)
    for _ in range(50):
        _, target, classes, instances = dense_case(rng)
        counts = counted(target, target, classes, instances=instances)
        assert counts[..., 1:3].sum() == 0
        assert ((counts[..., 0] > 0) == (counts[..., 3] > 0)).all()


def test_flips_and_transposes_without_ties():
    target = drawn("1100000/1100000/0000010/0000000/0001110")
    prediction = drawn("1110000/1111110/0000110/0000000/0000110")
    wanted = counted(prediction, target, 2).tolist()
    for turn in (np.fliplr, np.flipud, np.transpose, np.rot90):
        assert counted(turn(prediction), turn(target), 2).tolist() == wanted


@pytest.mark.parametrize(("area", "bucket"), [(1023, 0), (1024, 1), (9215, 1), (9216, 2)])
def test_edges_are_half_open(area, bucket):
    target = np.zeros((100, 97), int)
    target.ravel()[:area] = 1
    counts = counted(target, target, 2, np.array([1024, 9216]))
    assert counts[1, :, 3].tolist() == [int(b == bucket) for b in range(3)]


def test_more_than_65536_components():
    target = np.zeros((530, 536), np.uint8)
    target[::2, ::2] = 1
    prediction = target.copy()
    prediction[0, 0] = 0
    counts = counted(prediction, target, 2, np.array([4]))
    assert counts[1].tolist() == [[265 * 268 - 1, 0, 1, 265 * 268], [0, 0, 0, 0]]


def test_image_with_64_bit_keys():
    target, prediction = np.zeros((2, 1, 70_002), int)
    target[0, :2] = target[0, -3:] = prediction[0] = 1
    counts = counted(prediction, target, 2, np.array([34_998, 34_999, 35_000]))  # middle: the larger object
    assert counts[1].tolist() == [[5, 5, 0, 2], [0, 34_996, 0, 0], [0, 34_996, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16])
def test_integer_types(dtype):
    target, prediction = drawn("0011/0111"), drawn("0001/1111")
    wanted = counted(prediction, target, 2).tolist()
    assert counted(prediction.astype(dtype), target.astype(dtype), 2).tolist() == wanted


def test_strided_views():
    rng = np.random.default_rng(3)
    prediction, target = rng.integers(0, 3, (2, 20, 30))
    wanted = counted(prediction.T[::2].copy(), target.T[::2].copy(), 3).tolist()
    assert counted(prediction.T[::2], target.T[::2], 3).tolist() == wanted


def test_map_without_labelled_pixels():
    assert counted(np.zeros((3, 4), int), np.full((3, 4), 255), 2).sum() == 0


@pytest.mark.parametrize(
    ("prediction", "target", "instances", "what"),
    [
        ([[0, 2]], [[0, 0]], None, "prediction holds class 2 on a valid pixel; allowed are 0 to 1"),
        ([[0, -1]], [[0, 0]], None, "prediction holds class -1"),
        ([[0, 0]], [[0, 254]], None, "target holds class 254"),
        ([[0, 0]], [[-1, 0]], None, "target holds class -1"),
        ([[0.0, 1.0]], [[0, 0]], None, r"prediction must be a non-empty integer map .*, got float64 \(1, 2\)"),
        ([[[0]]], [[[0]]], None, r"target must be a non-empty integer map \(height, width\), got int64 \(1, 1, 1\)"),
        (np.zeros((0, 2), int), np.zeros((0, 2), int), None, r"must be a non-empty integer map .*, got int64 \(0, 2\)"),
        ([[0], [0]], [[0, 0]], None, r"the same shape, got \(2, 1\) and \(1, 2\)"),
        ([[0, 0]], [[0, 0]], [[1]], r"Instances and target must have the same shape, got \(1, 1\) and \(1, 2\)"),
    ],
)
def test_invalid_maps(prediction, target, instances, what):
    with pytest.raises(ValueError, match=what):
        counted(np.array(prediction), np.array(target), 2, instances=None if instances is None else np.array(instances))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64])
def test_instance_ids_of_any_integer_type(dtype):
    """Ids near the largest value of the type, beside more objects without an id."""
    target = np.array([[0, 1] + [0, 1] * 5])
    instances = np.array([[245, 250] + [0] * 10])
    counts = counted(target, target, 2, instances=instances.astype(dtype))
    assert counts.sum(1).tolist() == [[6, 0, 0, 6], [6, 0, 0, 6]]
