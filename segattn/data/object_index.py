"""The index of all objects in the label files of a data set, built once and kept in the user's cache.

Objects are the 8-connected components of IoU by object size, see :mod:`segattn.objects.ground_truth`.
"""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import UInt8
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from segattn.data.dataset import SegmentationDataset
from segattn.data.workers import start_worker
from segattn.io.atomic_write import atomic_write
from segattn.io.cache_folder import cache_folder
from segattn.objects.ground_truth import runs, target_objects

ObjectIndex: TypeAlias = npt.NDArray[Any]
"""One entry per object, in the order of images, with the fields of :data:`FIELDS`."""

FIELDS = np.dtype(
    [("image", np.int32), ("class_id", np.uint8), ("area", np.int32), ("row", np.int32), ("column", np.int32)]
)
"""Index of the image in the data set, class, area in pixels, and a pixel of the object: the nearest to its centroid."""


def index_objects(dataset: SegmentationDataset, *, workers: int = 0) -> ObjectIndex:
    """Find the objects of all label files, or read them from the cache if no label file has changed.

    Args:
        dataset: the data set.
        workers: number of reading processes; 0 reads in this process.

    Raises:
        DataError: if a label file cannot be read or contains unknown values.
    """
    path = cache_folder() / f"objects-{_fingerprint(dataset)}.npy"
    with suppress(OSError, ValueError, EOFError):  # absent or damaged
        cached: ObjectIndex = np.load(path)
        return cached
    reading = DataLoader(
        _ObjectReader(dataset),
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # leaves the global one of the training unchanged
    )
    console = Console(stderr=True)
    hidden = getattr(rank_zero_only, "rank", 0) != 0 or not console.is_terminal
    found = np.concatenate(
        list(track(reading, "indexing the objects of the training images", console=console, disable=hidden))
    )
    with suppress(OSError), atomic_write(path) as temporary:  # a cache that cannot be written is no problem
        np.save(temporary, found)
    return found


class _ObjectReader(Dataset[ObjectIndex]):
    """The objects of each label file."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> ObjectIndex:
        mask = self.dataset.read_mask(self.dataset.pairs[index].mask)
        objects = objects_of_mask(mask, len(self.dataset.classes))
        objects["image"] = index
        return objects


def objects_of_mask(mask: UInt8[np.ndarray, "h w"], num_classes: int) -> ObjectIndex:
    """Find the objects of one mask, numbered by their first pixels in row-major order; ``image`` is 0."""
    found = target_objects(mask, num_classes)
    start, length = runs(found.labels)
    label = found.labels.ravel()[start]
    row, left = np.divmod(start, mask.shape[1])
    area = np.maximum(found.size, 1)  # without ignored pixels, entry 0 is empty
    center_row = np.bincount(label, length * row) / area
    center_column = np.bincount(label, length * (left + (length - 1) / 2)) / area
    # In each run, the pixel nearest to the centroid; of these, the nearest one of each object.
    column = np.clip(np.rint(center_column[label]).astype(np.intp), left, left + length - 1)
    distance = (row - center_row[label]) ** 2 + (column - center_column[label]) ** 2
    order = np.lexsort((distance, label))
    order = order[label[order] > 0]
    nearest = order[np.unique(label[order], return_index=True)[1]]
    objects = np.zeros(len(nearest), dtype=FIELDS)
    objects["class_id"], objects["area"] = found.class_id[1:], found.size[1:]
    objects["row"], objects["column"] = row[nearest], column[nearest]
    return objects


def _fingerprint(dataset: SegmentationDataset) -> str:
    """A digest that changes with every label file and with the meaning of its values."""
    meaning = (type(dataset).__qualname__, len(dataset.classes), dataset.label_map.digest, FIELDS.descr)
    digest = sha256(repr(meaning).encode())
    for pair in dataset.pairs:
        state = pair.mask.stat()
        digest.update(f"{Path(pair.mask).absolute()} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _unchanged(objects: Any) -> Any:
    return objects
