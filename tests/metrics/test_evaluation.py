"""The evaluation: one attribution per image for all scores and the record, on a CPU thread."""

import numpy as np
import pytest
import torch

from segattn.metrics import InstanceIoU, ObjectSizeIoU, evaluation
from segattn.metrics.evaluation import MAX_PENDING, Evaluation, FurtherScores
from segattn.metrics.functional import attribute, confusion_counts, target_objects
from segattn.metrics.instance_iou import CITYSCAPES_AVERAGE_SIZES
from segattn.objects import ObjectSizes
from segattn.sample import ClassInfo, ClassTable
from tests.metrics.cases import IGNORED

NAMES = ("road", *CITYSCAPES_AVERAGE_SIZES)
CLASSES = ClassTable(tuple(ClassInfo(name, (i, i, i), i, thing=i > 0) for i, name in enumerate(NAMES)))
SIZES = ObjectSizes(edges=(9.0, 30.0))


def batches(count=3, images=2, *, with_objects=False):
    """Batches of random maps and their predictions."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        target = np.kron(rng.integers(0, len(NAMES), (images, 5, 6)), np.ones((1, 3, 4), int))
        prediction = np.where(rng.random(target.shape) < 0.7, target, rng.integers(0, len(NAMES), target.shape))
        target = np.where(rng.random(target.shape) < 0.1, IGNORED, target)
        instances = rng.integers(0, 3, target.shape)
        batch = {
            "image": torch.zeros(images, 3, *target.shape[1:]),
            "mask": torch.from_numpy(target),
            "instances": torch.from_numpy(instances),
            "name": [f"{number}-{index}" for index in range(images)],
        }
        if with_objects:
            pairs = zip(target, instances, strict=True)
            batch["objects"] = [target_objects(mask, len(NAMES), instances=ids) for mask, ids in pairs]
        found.append((torch.from_numpy(prediction), batch))
    return found


def evaluated(pairs, *, further=True, keep_rows=True, **parts):
    evaluation = Evaluation(CLASSES, SIZES, FurtherScores() if further else None)
    evaluation.keep_rows = keep_rows
    for prediction, batch in pairs:
        evaluation.update(prediction, batch, **{"with_sizes": True, "with_further": True, **parts})
    return evaluation, evaluation.compute(**{"with_sizes": True, "with_further": True, **parts})


@pytest.mark.parametrize("with_objects", [False, True])
def test_scores_equal_those_of_the_metrics(with_objects):
    pairs = batches(with_objects=with_objects)
    _, scores = evaluated(pairs)
    sizes = ObjectSizeIoU(len(NAMES), SIZES, things=CLASSES.things)
    iiou = InstanceIoU(len(NAMES), {NAMES.index(name): size for name, size in CITYSCAPES_AVERAGE_SIZES.items()})
    for prediction, batch in pairs:
        maps = prediction, batch["mask"], batch["instances"]
        sizes.update(*maps)
        images = zip(*(part.numpy() for part in maps), strict=True)
        iiou.update([attribute(p, target_objects(t, len(NAMES), instances=i), len(NAMES)) for p, t, i in images])
    for name, value in sizes.compute().items():
        torch.testing.assert_close(scores["sizes"][name], value, rtol=0, atol=0, equal_nan=True)
    for name, value in iiou.compute().items():
        torch.testing.assert_close(scores["further"][name], value, equal_nan=True)


def test_rows_of_the_record_sum_to_the_confusion_counts():
    pairs = batches()
    evaluation, scores = evaluated(pairs)
    images = evaluation.take_rows()
    assert [rows["image"][0] for rows in images] == [name for _, batch in pairs for name in batch["name"]]
    rows = {name: np.concatenate([image[name] for image in images]) for name in images[0]}
    confusion = sum(confusion_counts(prediction, batch["mask"], len(NAMES)) for prediction, batch in pairs)
    tp = confusion.diagonal()
    wanted = {"tp": tp, "fp": confusion.sum(0) - tp, "fn": confusion.sum(1) - tp}
    for name, counts in wanted.items():
        sums = np.bincount(rows["class_id"], weights=rows[name], minlength=len(NAMES))
        assert sums.tolist() == counts.tolist(), name
    assert (rows["kind"] == "object").sum() == scores["sizes"]["objects"].sum()
    assert evaluation.take_rows() == []


def test_each_image_is_attributed_once(monkeypatch):
    calls = []
    monkeypatch.setattr(evaluation, "attribute", lambda *maps: calls.append(1) or attribute(*maps))
    evaluated(batches())
    assert len(calls) == 6


def test_fit_computes_counts_only(monkeypatch):
    def unexpected(*_, **__):
        raise AssertionError

    monkeypatch.setattr(evaluation, "record_columns", unexpected)
    monkeypatch.setattr(InstanceIoU, "update", unexpected)
    found, scores = evaluated(batches(), keep_rows=False, with_further=False)
    assert "sizes" in scores
    assert "further" not in scores
    assert found.take_rows() == []
    monkeypatch.setattr(evaluation, "attribute", unexpected)
    _, scores = evaluated(batches(), keep_rows=False, with_further=False, with_sizes=False)
    assert set(scores) >= {"miou", "pixel_accuracy"}
    assert "sizes" not in scores


def test_the_next_evaluation_starts_at_zero():
    pairs = batches()
    found, first = evaluated(pairs)
    for prediction, batch in pairs:
        found.update(prediction, batch, with_sizes=True, with_further=True)
    again = found.compute(with_sizes=True, with_further=True)
    assert torch.equal(again["sizes"]["objects"], first["sizes"]["objects"])
    assert again["further"]["miou_image"] == first["further"]["miou_image"]


def test_waiting_batches_are_bounded():
    found, waiting = Evaluation(CLASSES, SIZES), []
    for prediction, batch in batches(count=3 * MAX_PENDING, images=1):
        found.update(prediction, batch, with_sizes=True, with_further=False)
        waiting.append(len(found._pending))
    assert max(waiting) <= MAX_PENDING
    assert found.compute(with_sizes=True, with_further=False)["sizes"]["objects"].sum() > 0


def test_waiting_batches_keep_no_images_in_memory(monkeypatch):
    seen = []
    monkeypatch.setattr(Evaluation, "_update", lambda self, prediction, batch, **_: seen.extend(batch))
    ((prediction, batch),) = batches(count=1)
    found = Evaluation(CLASSES, SIZES)
    found.update(prediction, batch, with_sizes=True, with_further=False)
    found._pending[0].result()
    assert seen == ["mask", "instances", "name"]


def test_a_single_class_has_scores_in_vectors():
    target = torch.full((1, 6, 8), IGNORED)
    target[0, 1:4, 2:5] = 0
    batch = {"image": torch.zeros(1, 3, 6, 8), "mask": target, "name": ["a"]}
    evaluation = Evaluation(ClassTable((ClassInfo("cell", (9, 9, 9), 1, thing=True),)), SIZES, FurtherScores())
    evaluation.update(torch.zeros_like(target), batch, with_sizes=True, with_further=True)
    scores = evaluation.compute(with_sizes=True, with_further=True)
    for name in ("iou", "precision", "recall", "f1"):
        assert scores[name].tolist() == [1], name
    assert scores["further"]["boundary_iou"].tolist() == [1]
    assert scores["miou"].ndim == 0
