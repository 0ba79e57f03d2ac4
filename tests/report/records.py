"""Small records of drawn scenes, with predictions of a given quality."""

import cv2
import numpy as np

from segattn.data.scenes import CLASSES, draw_scene
from segattn.metrics.functional import object_rows
from segattn.objects.record_files import RecordInfo, RecordWriter

EDGES, NAMES = (400, 2000), ("small", "medium", "large")


def info(**changes):
    values = {
        "class_names": CLASSES.names,
        "edges": EDGES,
        "bucket_names": NAMES,
        "things": CLASSES.things,
        "extra": {"run": "fcn", "run_version": "version_0", "head": "FCNHead", "split": "val", "data": "Shapes"},
    }
    return RecordInfo(**values | changes)


def named(run, version=0):
    return {"extra": {"run": run, "run_version": f"version_{version}", "head": f"{run}-head", "split": "val"}}


def predicted(mask, rng, *, lost, noise):
    """The ground truth with smoothed edges, a share of ``lost`` components and ``noise`` patches of other classes."""
    prediction = cv2.medianBlur(np.where(mask == 255, 0, mask).astype(np.uint8), 5)
    for c in np.unique(prediction)[1:]:
        count, labels = cv2.connectedComponents((prediction == c).astype(np.uint8))
        for label in range(1, count):
            if rng.random() < lost:
                prediction[labels == label] = rng.integers(len(CLASSES))
    for _ in range(noise):
        y, x = rng.integers(0, mask.shape[0] - 4, 2)
        prediction[y : y + 4, x : x + 4] = rng.integers(len(CLASSES))
    return prediction


def scenes(images=6, size=96, seed=0):
    """Names and masks."""
    for number in range(images):
        yield f"{number:03d}.png", draw_scene(np.random.default_rng([seed, number]), size)[1]


def write_record(path, *, seed=0, lost=0.3, noise=3, images=6, **changes):
    """Write a record; ``lost`` and ``noise`` make the predictions worse."""
    rng, described = np.random.default_rng(seed), info(**changes)
    with RecordWriter(path, described) as writer:
        for name, mask in scenes(images):
            prediction = predicted(mask, rng, lost=lost, noise=noise)
            writer.write(object_rows(prediction, mask, len(CLASSES), image=name, class_names=described.class_names))
    return path
