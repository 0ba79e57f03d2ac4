"""Checking a data set: list its files, read a sample or all of them, and report problems."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from segattn.check.file_rules import (
    class_findings,
    crop_findings,
    dark_findings,
    duplicate_findings,
    file_findings,
    has_wrong_labels,
)
from segattn.check.findings import SEVERITIES, Finding
from segattn.check.inspection import Inspection, Inspector
from segattn.check.label_rules import IGNORED, is_foreground, label_findings, may_be_foreground
from segattn.check.listing import listing_findings, open_splits, sample
from segattn.check.split_result import SplitResult
from segattn.data import SegmentationDataModule
from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.workers import start_worker
from segattn.io.printable import printable
from segattn.objects.size_bins import ObjectSizes

SAMPLE_PIXELS = 24_000_000
"""Pixels per split that a quick check reads, so that large images take no longer than small ones."""

FOREGROUND_SEARCH = 512
"""Further label files that a quick check reads to decide whether 255 is a class."""

_SIZES = ObjectSizes()


class UnsoundDataError(DataError):
    """Training on this data would fail or train a useless model.

    Examples:
        >>> from pathlib import Path
        >>> from segattn.check import UnsoundDataError, check_before_fit
        >>> from segattn.data import FolderDataModule
        >>> _ = Path("data/mine/two.yaml").write_text("classes: [{name: road, label: 1}, {name: car, label: 2}]")
        >>> try:
        ...     check_before_fit(FolderDataModule("data/mine", classes="two.yaml"))
        ... except UnsoundDataError as error:
        ...     print(error)
        Training on this data would fail or train a useless model ...
          train: 4 label files with values that are neither a class nor ignored: 7, 255. ...
    """


@dataclass(frozen=True)
class Report:
    """The result of a check: its findings, errors first, and sums over the files that were read, by split.

    Examples:
        >>> from segattn.check import check_data
        >>> from segattn.data import CamVidDataModule
        >>> report = check_data(CamVidDataModule("data/camvid", crop_size=(16, 16)), splits=["train"])
        >>> report.splits["train"].pixels.shape  # 11 classes, and the ignored pixels
        (12,)
        >>> [finding.kind for finding in report.findings]
        ['never-present']
    """

    findings: list[Finding]
    splits: dict[str, SplitResult]

    @property
    def errors(self) -> list[Finding]:
        """The findings of severity ``error``."""
        return [finding for finding in self.findings if finding.severity == "error"]


def check_data(
    data: SegmentationDataModule,
    *,
    splits: Sequence[str] = ("train", "val", "test"),
    every: bool = False,
    sizes: ObjectSizes = _SIZES,
    workers: int = 0,
) -> Report:
    """Look for problems in a data set.

    Args:
        data: the data module.
        splits: the splits to check. A missing test split is no problem.
        every: read all files instead of a sample of at most 64 pairs (and 24 million pixels) per split.
        sizes: the size bins of the object counts.
        workers: number of reading processes; 0 reads in this process.

    Examples:
        >>> from segattn.check import check_data
        >>> from segattn.data import CamVidDataModule
        >>> report = check_data(CamVidDataModule("data/camvid", crop_size=(16, 16)), splits=["train", "val"])
        >>> list(report.splits), report.errors
        (['train', 'val'], [])
    """
    opened, findings = open_splits(data, splits)
    missing = {split: dataset.missing_files() for split, dataset in opened.items()}
    findings += listing_findings(opened, missing)
    incomplete = {image for pairs in missing.values() for image, _ in pairs}
    usable = {
        split: [index for index, pair in enumerate(dataset.pairs) if pair.image not in incomplete]
        for split, dataset in opened.items()
    }
    chosen = usable if every else sample(opened, usable)
    console = Console(stderr=True)
    results = {}
    for split, dataset in opened.items():
        inspector = Inspector(dataset, sizes)
        reading = track(
            inspect_all(inspector, chosen[split], workers=workers),
            f"checking {split}",
            total=len(chosen[split]),
            console=console,
            transient=True,
            disable=not every or not console.is_terminal,
        )
        if every:
            inspections = list(reading)
        else:
            inspections = list(_until_pixels(reading, SAMPLE_PIXELS))
            inspections += _foreground(inspector, usable[split], inspections)
        results[split] = SplitResult(split, dataset, inspections, sizes)
    for split, result in results.items():
        elsewhere = [seen for other in results if other != split for seen in results[other].inspections]
        found = [*file_findings(result), *dark_findings(result), *label_findings(result, elsewhere)]
        findings += found
        if not has_wrong_labels(found, result):
            findings += class_findings(result)
        if split == "train":
            findings += crop_findings(result, data.transform)
    findings += duplicate_findings(results)
    return Report(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)), results)


def inspect_all(inspector: Inspector, indices: Sequence[int], *, workers: int) -> Iterator[Inspection]:
    """Inspect pairs of files in the order of the indices."""
    try:
        yield from DataLoader(
            inspector,
            batch_size=None,
            sampler=indices,
            num_workers=workers,
            worker_init_fn=start_worker,
            generator=torch.Generator(),  # leaves the global one of the training unchanged
        )
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        text = "A DataLoader worker was killed (often: out of memory); use a smaller data.num_workers."
        raise RuntimeError(text) from error


def _until_pixels(inspections: Iterable[Inspection], limit: int) -> Iterator[Inspection]:
    """The first inspections, until their images have a number of pixels."""
    pixels = 0
    for seen in inspections:
        yield seen
        pixels += seen.size[0] * seen.size[1] if seen.size else 0
        if pixels >= limit:
            return


def _foreground(inspector: Inspector, usable: Sequence[int], inspections: Sequence[Inspection]) -> list[Inspection]:
    """If the sample contains only the values 0 and 255 of two classes, look for a file with another value.

    Such a file shows that 255 is not the foreground but an ignored value, in a data set whose foreground is rare.
    """
    dataset = inspector.dataset
    values = {value for seen in inspections for value in seen.values.tolist()}
    if not may_be_foreground(dataset.classes, dataset.label_map) or IGNORED not in values or values - {0, IGNORED}:
        return []
    known = {seen.index for seen in inspections}
    further = [index for index in np.random.default_rng(1).permutation(usable).tolist() if index not in known]
    for index in further[:FOREGROUND_SEARCH]:
        if is_foreground(inspector.values(index)):
            return [inspector[index]]
    return []


def check_before_fit(data: SegmentationDataModule) -> None:
    """The quick check before training: print warnings, raise an error if there are errors.

    Examples:
        >>> from segattn.check import check_before_fit
        >>> from segattn.data import CamVidDataModule
        >>> check_before_fit(CamVidDataModule("data/camvid", crop_size=(16, 16)))
    """
    report = check_data(data, splits=("train", "val"))
    for finding in report.errors:
        if finding.kind == "no-data":
            raise DataNotFoundError(finding.what)
    if report.errors:
        lines = [
            f"\n  {finding.split}: {printable(f'{finding.what} {finding.where}')}\n    {finding.remedy}"
            for finding in report.errors
        ]
        raise UnsoundDataError(
            "Training on this data would fail or train a useless model (`segattn check` gives details, --check false "
            f"trains anyway):{''.join(lines)}"
        )
    _print_warnings(report)


@rank_zero_only
def _print_warnings(report: Report) -> None:
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    for finding in report.findings:
        if finding.severity == "warning":
            console.print(printable(f"warning: {finding.split}: {finding.what} {finding.remedy}"))
