"""Real masks against degraded copies: counts by size and rows sum to the confusion counts of torchmetrics."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torchmetrics.functional.classification import multiclass_confusion_matrix

from segattn.metrics import ObjectSizeIoU
from segattn.metrics.functional import confusion_counts, object_rows

SETS = {  # folder, number of classes, and how the files' values become class indices
    "camvid/annotations/val": (11, lambda mask: np.where(mask == 11, 255, mask)),
    "ADEChallengeData2016/annotations/validation": (150, lambda mask: np.where(mask == 0, 255, mask - 1)),
    "cocostuff/annotations/val": (182, lambda mask: mask),
}


def shifted(target, rng):
    return np.roll(target, (5, -8), (0, 1))


def eroded(target, rng):
    return ndimage.minimum_filter(target, 5)


def noisy(target, rng):
    return np.where(rng.random(target.shape) < 0.1, rng.choice(np.unique(target), target.shape), target)


def swapped(target, rng):
    classes = np.unique(target)
    order = np.arange(256)
    order[classes] = rng.permutation(classes)
    return order[target]


@pytest.mark.parametrize("degrade", [shifted, eroded, noisy, swapped])
@pytest.mark.parametrize("folder", SETS)
def test_sizes_sum_to_the_confusion_counts(shared_data, folder, degrade):
    num_classes, to_classes = SETS[folder]
    rng = np.random.default_rng(0)
    metric, wanted = ObjectSizeIoU(num_classes), 0
    for path in sorted((shared_data / folder).iterdir())[::40]:
        target = to_classes(np.array(Image.open(path)).astype(np.int64))
        prediction = degrade(target, rng)
        prediction[prediction == 255] = 0
        pair = torch.from_numpy(prediction)[None], torch.from_numpy(target)[None]
        metric.update(*pair)
        confusion = multiclass_confusion_matrix(*pair, num_classes, ignore_index=255)
        assert torch.equal(confusion_counts(*pair, num_classes), confusion)
        tp = confusion.diagonal()
        wanted += torch.stack([tp, confusion.sum(0) - tp, confusion.sum(1) - tp], dim=1)

        rows = object_rows(prediction, target, num_classes)
        sums = [np.bincount(rows["class_id"], weights=rows[name], minlength=num_classes) for name in ("tp", "fp", "fn")]
        image = torch.stack([tp, confusion.sum(0) - tp, confusion.sum(1) - tp])
        assert np.array_equal(np.stack(sums), image.numpy())
    assert torch.equal(metric.counts.sum(1)[:, :3], wanted)
