"""IoU and iIoU against the official Cityscapes evaluator, on small files in the layout of the data set."""

import importlib
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from segattn.metrics import ConfusionMetric, InstanceIoU
from segattn.metrics.functional import attribute, target_objects
from segattn.metrics.instance_iou import CITYSCAPES_AVERAGE_SIZES

SIZE = (32, 64)


@pytest.fixture
def evaluator(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # written for older versions of numpy
        module = importlib.import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)
    monkeypatch.setattr(module.args, "JSONOutput", False)
    monkeypatch.setattr(module.args, "quiet", True)
    return module


def written(path, name, values, dtype):
    file = path / name
    Image.fromarray(values.astype(dtype)).save(file)
    return str(file)


def drawn_scene(rng, labels):
    """Label ids and instance ids as in the data set: label * 1000 + number, or only the label for groups."""
    ids = np.array([label.id for label in labels if label.id >= 0])
    label_ids = np.kron(rng.choice(ids, (8, 8)), np.ones((4, 8), int))
    counted = np.isin(label_ids, [label.id for label in labels if label.hasInstances])
    number = np.kron(rng.integers(-1, 3, (16, 16)), np.ones((2, 4), int))
    return label_ids, np.where(counted & (number >= 0), label_ids * 1000 + number, label_ids)


def test_scores_equal_the_official_evaluator(evaluator, tmp_path):
    rng = np.random.default_rng(0)
    labels = evaluator.labels
    classes = sorted((label for label in labels if label.trainId not in (-1, 255)), key=lambda label: label.trainId)
    train_id = np.full(34, 255)
    for label in classes:
        train_id[label.id] = label.trainId
    label_id = np.array([label.id for label in classes])

    confusion = ConfusionMetric(len(classes))
    sizes = {label.trainId: CITYSCAPES_AVERAGE_SIZES[label.name] for label in classes if label.hasInstances}
    iiou = InstanceIoU(len(classes), sizes)
    files = {"prediction": [], "target": []}
    for number in range(4):
        label_ids, instance_ids = drawn_scene(rng, labels)
        target = train_id[label_ids]
        prediction = np.where(rng.random(SIZE) < 0.6, target, rng.integers(0, len(classes), SIZE))
        prediction[prediction == 255] = 3
        instances = np.where(instance_ids > 1000, instance_ids % 1000 + 1, 0)
        confusion.update(torch.from_numpy(prediction), torch.from_numpy(target))
        objects = target_objects(target, len(classes), instances=instances)
        iiou.update([attribute(prediction, objects, len(classes))])
        stem = f"aachen_{number:06}_000019"
        files["prediction"].append(written(tmp_path, f"{stem}_pred.png", label_id[prediction], np.uint8))
        files["target"].append(written(tmp_path, f"{stem}_gtFine_labelIds.png", label_ids, np.uint8))
        written(tmp_path, f"{stem}_gtFine_instanceIds.png", instance_ids, np.uint16)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official = evaluator.evaluateImgLists(files["prediction"], files["target"], evaluator.args)
    scores, instance_scores = confusion.compute(), iiou.compute()
    names = [label.name for label in classes]
    assert scores["iou"].tolist() == [official["classScores"][name] for name in names]
    assert scores["miou"].item() == pytest.approx(official["averageScoreClasses"], abs=1e-15)
    wanted = [official["classInstScores"][name] for name in names]
    assert instance_scores["iiou"].tolist() == pytest.approx(wanted, nan_ok=True)
    assert instance_scores["miiou"].item() == pytest.approx(official["averageScoreInstClasses"])
