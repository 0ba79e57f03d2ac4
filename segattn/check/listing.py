"""Checks that need no file contents, and the choice of the files that a quick check reads."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from segattn.check.findings import Finding
from segattn.data import SegmentationDataModule, SegmentationDataset
from segattn.data.errors import DataError, DataNotFoundError
from segattn.io.image_listing import list_images

SAMPLE = 64
"""Pairs per split that a quick check reads."""

TWINS = 16
"""How many of them, at most, are chosen because an image of another split has the same file size."""

Missing = Mapping[str, Sequence[tuple[Path, Path]]]
"""Images and their missing label files, by split."""


def open_splits(
    data: SegmentationDataModule, splits: Sequence[str]
) -> tuple[dict[str, SegmentationDataset], list[Finding]]:
    """Open the splits of a data set, and report those that cannot be opened, except a missing test split."""
    opened: dict[str, SegmentationDataset] = {}
    findings: list[Finding] = []
    for split in splits:
        try:
            opened[split] = data.dataset(split)
        except (DataError, DataNotFoundError) as error:
            is_optional = split == "test" and isinstance(error, DataNotFoundError)
            if not is_optional and str(error) not in {finding.what for finding in findings}:
                findings.append(Finding("no-data", split, str(error)))
    return opened, findings


def listing_findings(splits: Mapping[str, SegmentationDataset], missing_labels: Missing) -> Iterator[Finding]:
    """Missing and surplus label files."""
    for split, dataset in splits.items():
        missing = missing_labels[split]
        if missing:
            images = tuple(str(image) for image, _ in missing)
            first = missing[0][1]
            what = f"{len(missing)} of {len(dataset)} images have no label file, for example {first} is missing."
            yield Finding("missing-label", split, what, images)
        if surplus := _surplus_labels(dataset):
            yield Finding("surplus-label", split, f"{len(surplus)} label files have no image.", tuple(surplus))


def _surplus_labels(dataset: SegmentationDataset) -> list[str]:
    """Label files below the folder of labels that have no image. An image that the data set leaves out counts."""
    taken = {str(path) for pair in dataset.pairs for path in (pair.image, pair.mask, pair.instances) if path}
    labels = [
        each for each in _files(dataset, "mask") if each[1] not in taken and fnmatch(each[1], dataset.label_files)
    ]
    images = {stem for stem, _ in _files(dataset, "image")} if labels else set()
    return [path for stem, path in labels if stem not in images]


def _files(dataset: SegmentationDataset, kind: str) -> Iterator[tuple[str, str]]:
    """All images or label files in the folders of a data set: relative path without extension, and path."""
    paths = [(str(getattr(pair, kind)), pair.name.count("/") + 1) for pair in dataset.pairs]
    for folder in sorted({path.rsplit(os.sep, levels)[0] for path, levels in paths}):
        for path in list_images(folder):
            yield os.path.splitext(path[len(folder) + 1 :])[0], path  # noqa: PTH122


def sample(splits: Mapping[str, SegmentationDataset], usable: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Choose the pairs that a quick check reads, in random order.

    Images with the file size of an image in another split come first, because they may be the same image.
    """
    twins = _same_size(splits, usable)
    chosen: dict[str, list[int]] = {}
    for split, indices in usable.items():
        first = twins[split][:TWINS] if len(indices) > SAMPLE else []
        order = np.random.default_rng(0).permutation(indices).tolist()
        chosen[split] = list(dict.fromkeys([*first, *order]))[:SAMPLE]
    return chosen


def _same_size(splits: Mapping[str, SegmentationDataset], usable: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Indices of images that have the file size of an image in another split, those with equal names first."""
    twins: dict[str, list[int]] = {split: [] for split in splits}
    sizes = {
        split: {index: _file_size(splits[split].pairs[index].image) for index in usable[split]} for split in splits
    }
    for with_name in (True, False):
        groups: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
        for split, size_of in sizes.items():
            for index, size in size_of.items():
                name = splits[split].pairs[index].image.stem if with_name else ""
                groups[size, name].setdefault(split, index)
        for group in groups.values():
            if len(group) > 1:
                for split, index in group.items():
                    twins[split].append(index)
    return twins


def _file_size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116  # Path.stat takes twice as long, and there may be 20,000 files
    except OSError:
        return -1
