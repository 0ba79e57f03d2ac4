"""Real masks against degraded copies: counts by size and rows sum to the confusion counts of torchmetrics."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torchmetrics.functional.classification import multiclass_confusion_matrix

from segattn.metrics import ObjectSizeIoU
from segattn.metrics.functional import confusion_counts, object_rows
from segattn.objects.found import is_false_alarm

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
        alarm, missed = is_false_alarm(rows["tp"], rows["fp"], rows["size_px"]), rows["tp"] == 0
        for name, segment in (("fp", alarm), ("fn", missed)):
            assert (rows[f"{name}_boundary"] >= 0).all()
            assert (rows[f"{name}_boundary"] <= rows[name] * ~segment).all()
        image = torch.stack([tp, confusion.sum(0) - tp, confusion.sum(1) - tp])
        assert np.array_equal(np.stack(sums), image.numpy())
    assert torch.equal(metric.counts.sum(1)[:, :3], wanted)


def kinds_of(prediction, target, class_id=None):
    """The false pixels of each kind, of one class or of all."""
    rows = object_rows(prediction, target, 11)
    chosen = np.full(len(rows["tp"]), True) if class_id is None else rows["class_id"] == class_id
    tp, fp, fn, size = (rows[name][chosen] for name in ("tp", "fp", "fn", "size_px"))
    boundary = (rows["fp_boundary"] + rows["fn_boundary"])[chosen].sum()
    segment = (fp * is_false_alarm(tp, fp, size) + fn * (tp == 0)).sum()
    return boundary, (fp + fn).sum() - boundary - segment, segment


def test_kinds_of_corrupted_masks(shared_data):
    """Shifted and eroded: the outlines are wrong. Dropped and invented: segments. Cut in half: the extent."""
    car, bicyclist, sums = 8, 10, {}
    for path in sorted((shared_data / "camvid/annotations/val").iterdir())[::25]:
        target = SETS["camvid/annotations/val"][1](np.array(Image.open(path)).astype(np.int64))
        filled = ndimage.median_filter(np.where(target == 255, 3, target), 9)  # a shift would lose specks
        target = np.where(target == 255, 255, filled)
        cut, invented, cars = filled.copy(), filled.copy(), ndimage.label(filled == car)[0]
        for rows, columns in ndimage.find_objects(cars):
            left = cut[rows, columns.start : (columns.start + columns.stop) // 2]
            left[left == car] = 3
        invented[20:40, 30:60] = bicyclist
        cases = {
            "shifted": (np.pad(filled, ((0, 0), (2, 0)), mode="edge")[:, :-2], None),
            "eroded": (
                np.where((filled == car) & ~ndimage.binary_erosion(filled == car, iterations=2), 3, filled),
                car,
            ),
            "dropped": (np.where(filled == car, 3, filled), car),
            "invented": (invented, bicyclist),
            "cut": (cut, car),
        }
        for name, (prediction, class_id) in cases.items():
            sums[name] = np.add(sums.get(name, 0), kinds_of(prediction, target, class_id))
    boundary, extent, segment = np.transpose([np.array(kinds) / kinds.sum() for kinds in sums.values()])
    assert boundary[:2].min() > 0.9
    assert segment[2] == segment[3] == 1
    assert extent[4] > 0.5
