"""Measure the cost of IoU per object size per image, on one CPU thread.

    python scripts/benchmark_metrics.py --data ../shared/data

The ground truth is real if ``--data`` contains ``camvid/annotations/val`` or
``ADEChallengeData2016/annotations/validation``, otherwise the script draws it. Predictions are degraded copies and
three worst cases. An update includes finding the objects, the regions and the owners. Times are means over the images
of the fastest of several rounds. MiB is the growth of the process during an update, with the memory of all libraries,
for the image that needs most (Linux with glibc only).
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchmetrics.classification import MulticlassJaccardIndex

from segattn.benchmark.measure import peak_growth
from segattn.metrics import ConfusionMetric, ObjectSizeIoU
from segattn.metrics.functional import attribute, object_rows, size_counts, target_objects

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.oracles.object_size import size_counts as oracle

Map = npt.NDArray[np.int64]
STREET = (1024, 2048)


class Case(NamedTuple):
    """A row of the table: name, number of classes, pairs of prediction and target, and time limit in ms."""

    name: str
    num_classes: int
    pairs: list[tuple[Map, Map]]
    limit: float


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with real masks (default: draw masks)")
    parser.add_argument("--images", type=int, default=5, help="images per case")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    columns = ("limit", "update", "target half", "record", "confusion", "torchmetrics", "MiB")
    print(f"{'ms per image':34}" + "".join(f"{name:>13}" for name in columns))
    for case in cases(given.data, given.images):
        print(f"{case.name:34}" + "".join(f"{value:13.1f}" for value in measure(case, given.rounds)), flush=True)
    measure_oracle(given.data)


def measure(case: Case, rounds: int) -> Iterator[float]:
    """The columns of one row."""
    sizes = ObjectSizeIoU(case.num_classes)
    confusion = ConfusionMetric(case.num_classes)
    jaccard = MulticlassJaccardIndex(case.num_classes, ignore_index=255, validate_args=False)
    tensors = [tuple(torch.from_numpy(labels)[None] for labels in pair) for pair in case.pairs]
    yield case.limit
    yield fastest(sizes.update, tensors, rounds)
    yield fastest(lambda _, target: target_objects(target, case.num_classes), case.pairs, rounds)
    yield fastest(lambda predicted, target: object_rows(predicted, target, case.num_classes), case.pairs, 1)
    yield fastest(confusion.update, tensors, rounds)
    yield fastest(jaccard.update, tensors, rounds)
    yield max(peak_growth(partial(sizes.update, *pair), torch.device("cpu")) for pair in tensors)


def measure_oracle(data: Path | None) -> None:
    """Print the time of the oracle of the tests on a small map, and whether its counts are the same."""
    prediction, target = degraded(street_masks(data, 1, (72, 96)))[0]
    edges = np.array([64, 1024])
    found = size_counts(attribute(prediction, target_objects(target, 19), 19), edges, 19)
    start = time.perf_counter()
    expected = oracle(prediction, target, 19, edges)  # type: ignore[no-untyped-call]  # as all tests
    elapsed = time.perf_counter() - start
    same = "same counts" if (found == expected).all() else "DIFFERENT COUNTS"
    print(f"oracle of the tests, 96x72: {1000 * elapsed:.0f} ms, {same}")


def fastest(function: Callable[..., Any], pairs: list[Any], rounds: int) -> float:
    """Mean over the pairs of the fastest of several calls, in ms."""
    times = np.empty((rounds, len(pairs)))
    for index in np.ndindex(*times.shape):
        start = time.perf_counter()
        function(*pairs[index[1]])
        times[index] = time.perf_counter() - start
    return float(1000 * times.min(0).mean())


def cases(data: Path | None, images: int) -> Iterator[Case]:
    """Ordinary predictions at three sizes, and worst cases at the largest size."""
    small = street_masks(data, images, (360, 480))
    yield Case("480x360, 11 classes, smoothed", 11, degraded(small), 10)
    yield Case("480x360, 11 classes, other frame", 11, exchanged(small), 10)
    yield Case("683x512, 150 classes, smoothed", 150, degraded(room_masks(data, images)), 20)
    large = street_masks(data, images, STREET)
    yield Case("2048x1024, 19 classes, smoothed", 19, degraded(large), 60)
    yield Case("2048x1024, 19 classes, other frame", 19, exchanged(large), 60)
    rng = np.random.default_rng(0)
    fields = np.add.outer(np.arange(STREET[0]), np.arange(STREET[1])) % 2
    yield Case("2048x1024, one class predicted", 19, [(np.full(STREET, 8), target) for target in large], 200)
    yield Case("2048x1024, checkerboard", 19, [(np.where(fields, 3, 1), target) for target in large], 200)
    yield Case("2048x1024, noise", 19, [(rng.integers(0, 19, STREET), target) for target in large], 200)


def degraded(targets: list[Map]) -> list[tuple[Map, Map]]:
    """Masks shifted by a few pixels and smoothed, so that small objects vanish and others merge."""
    pairs = []
    for target in targets:
        step = max(2, target.shape[0] // 120)
        moved = np.roll(np.where(target == 255, 0, target), (step, step + 1), axis=(0, 1))
        pairs.append((cv2.medianBlur(moved.astype(np.uint8), 5).astype(np.int64), target))
    return pairs


def exchanged(targets: list[Map]) -> list[tuple[Map, Map]]:
    """Each mask with the mask of another image as prediction: many errors with plausible shapes."""
    others = targets[1:] + targets[:1]
    return [(np.where(other == 255, 0, other), target) for other, target in zip(others, targets, strict=True)]


def street_masks(data: Path | None, count: int, shape: tuple[int, int]) -> list[Map]:
    """CamVid masks, enlarged by nearest neighbor if needed, or drawn masks."""
    if data is None:
        return [drawn_mask(seed, 11, shape) for seed in range(count)]
    paths = sorted((data / "camvid/annotations/val").glob("*.png"))[:: max(1, 100 // count)][:count]
    masks = [resized(np.array(Image.open(path)), shape) for path in paths]
    return [np.where(mask == 11, 255, mask) for mask in masks]


def room_masks(data: Path | None, count: int) -> list[Map]:
    """ADE20K masks, or drawn masks with many classes."""
    if data is None:
        return [drawn_mask(seed, 150, (512, 683)) for seed in range(count)]
    paths = sorted((data / "ADEChallengeData2016/annotations/validation").glob("*.png"))[:count]
    masks = [resized(np.array(Image.open(path)), (512, 683)) for path in paths]
    return [np.where(mask == 0, 255, mask - 1) for mask in masks]


def resized(mask: npt.NDArray[np.uint8], shape: tuple[int, int]) -> Map:
    """Resize by nearest neighbor."""
    labels: Map = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST).astype(np.int64)
    return labels


def drawn_mask(seed: int, num_classes: int, shape: tuple[int, int]) -> Map:
    """Smooth areas of all classes, thin poles and a few ignored patches."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=(num_classes, 12, 16)).astype(np.float32)
    scores = [cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC) for field in fields]
    mask: Map = np.stack(scores).argmax(0).astype(np.int64)
    for x in rng.integers(0, shape[1], 20):
        mask[shape[0] // 3 : 2 * shape[0] // 3, x : x + 3] = 2
    for y, x in rng.integers(0, np.array(shape), (5, 2)):
        mask[y : y + shape[0] // 20, x : x + shape[1] // 20] = 255
    return mask


if __name__ == "__main__":
    main()
