"""Sums over the files of a split that were read."""

from collections.abc import Iterable
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from segattn.check.inspection import Inspection
from segattn.data import SegmentationDataset
from segattn.io.raster_files import mean_and_std
from segattn.objects.size_bins import ObjectSizes
from segattn.sample import IGNORE_INDEX

Counts = npt.NDArray[np.int64]


class SplitResult:
    """The inspections of a split and their sums; ``sound`` are those of label files with only known values."""

    def __init__(
        self, name: str, dataset: SegmentationDataset, inspections: Iterable[Inspection], sizes: ObjectSizes
    ) -> None:
        self.name = name
        self.dataset = dataset
        self.inspections = sorted(inspections, key=lambda seen: seen.index)
        self.sound = [seen for seen in self.inspections if seen.is_sound]
        self.sizes = sizes

    @property
    def is_complete(self) -> bool:
        """Whether all pairs were read."""
        return len(self.inspections) == len(self.dataset)

    @cached_property
    def pixels(self) -> Counts:
        """Pixels of every class, followed by the ignored ones."""
        sums = np.zeros(len(self.dataset.classes) + 1, dtype=np.int64)
        for seen in self.sound:
            np.add.at(sums, np.minimum(seen.classes, len(sums) - 1), seen.pixels)  # IGNORE_INDEX is the largest index
        return sums

    @cached_property
    def images(self) -> Counts:
        """Images that contain each class."""
        counts = np.zeros(len(self.dataset.classes) + 1, dtype=np.int64)
        for seen in self.sound:
            counts[np.unique(np.minimum(seen.classes, len(counts) - 1))] += 1
        return counts[:-1]

    @cached_property
    def objects(self) -> Counts:
        """Objects of every class and size bin, shape (classes, bins)."""
        counts = np.zeros((len(self.dataset.classes), len(self.sizes.names)), dtype=np.int64)
        for seen in self.sound:
            classes, bins, numbers = seen.objects.T
            np.add.at(counts, (classes, bins), numbers)
        return counts

    @property
    def channel_line(self) -> str:
        """The mean and standard deviation of every channel for a config; empty for 8-bit RGB or without images."""
        read = [(seen.size[0] * seen.size[1], seen.moments) for seen in self.inspections if seen.size]
        if self.dataset.channels is None or not read:
            return ""
        mean, std = mean_and_std([moments for _, moments in read], [pixels for pixels, _ in read])
        return f"Channels for model.encoder: {{mean: {mean}, std: {std}}}"

    @property
    def size_line(self) -> str:
        """One line that explains the columns of object counts."""
        unit = "of the image's area" if self.sizes.relative else "pixels"
        bounds = [f"{name} < {edge:g}" for name, edge in zip(self.sizes.names, self.sizes.edges, strict=False)]
        return f"Objects by size in {unit}: {' <= '.join([*bounds, self.sizes.names[-1]])}."

    def examples(self) -> dict[int, int]:
        """For every class that occurs, the index of the pair with the most pixels of it."""
        best: dict[int, tuple[int, int]] = {}
        for seen in self.sound:
            if seen.size is None or seen.problems:
                continue
            for class_index, pixels in zip(seen.classes.tolist(), seen.pixels.tolist(), strict=True):
                if class_index != IGNORE_INDEX and pixels > best.get(class_index, (0, 0))[0]:
                    best[class_index] = (pixels, seen.index)
        return {class_index: index for class_index, (_, index) in sorted(best.items())}

    def paths(self, inspections: Iterable[Inspection], file: Literal["image", "mask", "instances"]) -> tuple[str, ...]:
        """Paths of a kind of file of inspected pairs."""
        return tuple(str(getattr(self.dataset.pairs[seen.index], file)) for seen in inspections)
