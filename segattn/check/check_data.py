"""Checking a data set: list its files, look at some or all of them, and say what is wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from rich.console import Console
from rich.progress import track

from segattn.check.findings import Finding, by_severity
from segattn.check.inspection import Inspection, Inspector
from segattn.check.label_rules import VOID, label_findings, may_mean_two_things, more_than_void
from segattn.check.listing import complete_pairs, listing_findings, open_splits, sample
from segattn.check.readers import inspect_all
from segattn.check.rules import class_findings, crop_findings, duplicate_findings, file_findings, has_wrong_labels
from segattn.check.split import SplitResult
from segattn.data import SegmentationSource
from segattn.data.errors import DataError
from segattn.data.label_files import missing_files
from segattn.objects.size_bins import ObjectSizes

SAMPLE_PIXELS = 24_000_000
"""Pixels of images that a quick check reads of each split, so that large images take no longer than small ones."""

SECOND_LOOK = 512
"""Further label files, at most, in which a quick check looks for a class that none of the sample shows."""

_SIZES = ObjectSizes()


class UnsoundDataError(DataError):
    """Training on this data would fail or learn nonsense."""


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        findings: errors first.
        splits: the sums over the files that were looked at.
    """

    findings: list[Finding]
    splits: dict[str, SplitResult]

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a training or make it learn nonsense."""
        return [finding for finding in self.findings if finding.severity == "error"]


def check_data(
    data: SegmentationSource,
    *,
    every: bool = False,
    sizes: ObjectSizes = _SIZES,
    workers: int = 0,
    progress: bool = False,
) -> Report:
    """Look for what is wrong with a data set.

    Args:
        data: the data set. Splits that its ``setup`` opened are not listed again.
        every: look at all files, instead of a sample of at most 64 pairs (and 24 million pixels) a split.
        sizes: the buckets that objects are counted by.
        workers: processes that read.
        progress: whether to show a progress bar on the error stream, if that is a terminal.
    """
    splits, findings = (data.datasets, []) if data.datasets else open_splits(data)
    missing = {split: missing_files(dataset.pairs) for split, dataset in splits.items()}
    findings += listing_findings(splits, missing)
    usable = {split: complete_pairs(dataset, missing[split]) for split, dataset in splits.items()}
    chosen = usable if every else sample(splits, usable)
    results = {}
    for split, dataset in splits.items():
        inspector = Inspector(dataset, sizes)
        inspections = inspect_all(inspector, chosen[split], workers=workers)
        if not every:
            inspections = _with_foreground(inspector, usable[split], _first_pixels(inspections))
        shown = track(
            inspections,
            f"checking {split}",
            total=len(chosen[split]),
            console=Console(stderr=True),
            transient=True,
            disable=not progress or not Console(stderr=True).is_terminal,
        )
        results[split] = SplitResult(split, dataset, shown, sizes)
    for split, result in results.items():
        elsewhere = [seen for other in results if other != split for seen in results[other].inspections]
        findings += _judge(result, elsewhere, data)
    findings += duplicate_findings(results)
    return Report(by_severity(findings), results)


def _first_pixels(inspections: Iterator[Inspection]) -> Iterator[Inspection]:
    """Inspections until they make :data:`SAMPLE_PIXELS` of images."""
    pixels = 0
    for seen in inspections:
        yield seen
        pixels += seen.size[0] * seen.size[1] if seen.size else 0
        if pixels >= SAMPLE_PIXELS:
            return


def _with_foreground(
    inspector: Inspector, usable: Sequence[int], inspections: Iterator[Inspection]
) -> Iterator[Inspection]:
    """Inspections, and one more where a rare class does not show in them and 255 may stand for it, or for void."""
    looked_at = []
    for seen in inspections:
        looked_at.append(seen)
        yield seen
    values = {value for seen in looked_at for value in seen.values.tolist()}
    dataset = inspector.dataset
    if not may_mean_two_things(dataset.classes, dataset.label_map) or VOID not in values or values - {0, VOID}:
        return
    known = {seen.index for seen in looked_at}
    further = (index for index in np.random.default_rng(1).permutation(usable).tolist() if index not in known)
    found = next((index for index in islice(further, SECOND_LOOK) if more_than_void(inspector.values(index))), None)
    if found is not None:
        yield inspector(found)


def _judge(result: SplitResult, elsewhere: Sequence[Inspection], data: SegmentationSource) -> Iterator[Finding]:
    """All that can be said of one split, beside the others."""
    found = [*file_findings(result), *label_findings(result, elsewhere)]
    yield from found
    if not has_wrong_labels(found, result):
        yield from class_findings(result)
    if result.name == "train":
        yield from crop_findings(result, data.augmentation)
