"""What can be said of a data set without opening its files, and which of them a quick check opens."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from segattn.check.findings import Finding
from segattn.data import SegmentationDataset, SegmentationSource
from segattn.data.dataset import incomplete_allowed
from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.label_files import Pair
from segattn.io.image_listing import list_images

SPLITS = ("train", "val", "test")

SAMPLE = 64
"""Pairs that a quick check opens of each split."""

TWINS = 16
"""How many of them, at most, are chosen for having the size of a file of another split."""


Missing = Mapping[str, Sequence[tuple[Path, Path]]]
"""Images and the label files that they lack, by split."""


def open_splits(data: SegmentationSource) -> tuple[dict[str, SegmentationDataset], list[Finding]]:
    """The splits of a data set, whether complete or not. The test split counts where it has files of its own."""
    splits: dict[str, SegmentationDataset] = {}
    findings: list[Finding] = []
    with incomplete_allowed():
        for split in SPLITS:
            try:
                opened = data.dataset(split)
            except (DataError, DataNotFoundError) as error:
                if str(error) not in {finding.what for finding in findings}:
                    findings.append(Finding("no-data", split, str(error)))
                continue
            if split != "test" or "val" not in splits or opened.pairs != splits["val"].pairs:
                splits[split] = opened
    return splits, findings


def listing_findings(splits: Mapping[str, SegmentationDataset], missing_labels: Missing) -> Iterator[Finding]:
    """Missing and surplus label files, label files of a wrong type, and splits that share their files."""
    for split, dataset in splits.items():
        missing = missing_labels[split]
        surplus = surplus_labels(dataset)
        lossy = _lossy_twins([label for _, label in missing], surplus)
        if lossy:
            yield Finding("jpeg-label", split, f"{len(lossy)} label files are JPEG, PNG is needed.", tuple(lossy))
        if missing:
            images = tuple(str(image) for image, _ in missing)
            first = missing[0][1]
            what = f"{len(missing)} of {len(dataset)} images have no label file; the first one lacks {first}."
            yield Finding("missing-label", split, what, images)
        left = [path for path in surplus if path not in lossy]
        if left:
            yield Finding("surplus-label", split, f"{len(left)} label files belong to no image.", tuple(left))
    names = list(splits)
    for position, split in enumerate(names):
        for earlier in names[:position]:
            own = {pair.image for pair in splits[earlier].pairs}
            shared = [str(pair.image) for pair in splits[split].pairs if pair.image in own]
            if shared:
                what = f"{len(shared)} of {len(splits[split])} images are files of {earlier} too."
                yield Finding("same-files", split, what, tuple(shared))


def surplus_labels(dataset: SegmentationDataset) -> list[str]:
    """Label files below the folder of labels that belong to no image."""
    folders = {str(pair.mask).rsplit(os.sep, pair.name.count("/") + 1)[0] for pair in dataset.pairs}
    taken = {str(path) for pair in dataset.pairs for path in (pair.image, pair.mask, pair.instances) if path}
    found = (path for folder in sorted(folders) for path in list_images(folder))
    return [path for path in found if path not in taken and fnmatch(path, dataset.label_files)]


def sample(splits: Mapping[str, SegmentationDataset], usable: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Indices of the usable pairs that a quick check looks at, in a random order.

    Images of one size in bytes in two splits come first, because they may be the same image.
    """
    twins = _twins({split: [splits[split].pairs[index] for index in usable[split]] for split in splits})
    chosen: dict[str, list[int]] = {}
    for split, indices in usable.items():
        first = twins[split][:TWINS] if len(indices) > SAMPLE else []
        order = np.random.default_rng(0).permutation(len(indices)).tolist()
        chosen[split] = [indices[position] for position in dict.fromkeys([*first, *order])][:SAMPLE]
    return chosen


def complete_pairs(dataset: SegmentationDataset, missing: Sequence[tuple[Path, Path]]) -> list[int]:
    """Indices of the pairs that lack no file."""
    lacking = {image for image, _ in missing}
    return [index for index, pair in enumerate(dataset.pairs) if pair.image not in lacking]


def _twins(pairs: Mapping[str, list[Pair]]) -> dict[str, list[int]]:
    """Positions of pairs whose images have the size of an image of another split, those of equal names first."""
    positions: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for split, listed in pairs.items():
        for position, pair in enumerate(listed):
            positions[_size(pair.image)][split].append(position)
    matches = []
    for by_split in positions.values():
        if len(by_split) > 1:
            one, other = list(by_split)[:2]
            a, b = _closest(pairs, one, other, by_split)
            same_name = Path(pairs[one][a].name).stem == Path(pairs[other][b].name).stem
            matches.append((not same_name, (one, a), (other, b)))
    found: dict[str, list[int]] = {split: [] for split in pairs}
    for _, *two in sorted(matches):
        for split, position in two:
            found[split].append(position)
    return found


def _closest(
    pairs: Mapping[str, list[Pair]], one: str, other: str, by_split: Mapping[str, list[int]]
) -> tuple[int, int]:
    """Two images of one size in bytes, of the same name if there are such."""
    named = {Path(pairs[one][position].name).stem: position for position in by_split[one]}
    for position in by_split[other]:
        stem = Path(pairs[other][position].name).stem
        if stem in named:
            return named[stem], position
    return by_split[one][0], by_split[other][0]


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116  # half the time of Path.stat, for every file there is
    except OSError:
        return -1


def _lossy_twins(missing: list[Path], surplus: list[str]) -> list[str]:
    """JPEG files that lie where a label file of another type is missing."""
    wanted = {path.with_suffix("") for path in missing}
    return [
        path for path in surplus if path.lower().endswith((".jpg", ".jpeg")) and Path(path).with_suffix("") in wanted
    ]
