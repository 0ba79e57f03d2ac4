"""Findings about the files, class frequencies and crops of a split, and about copies between splits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from segattn.check.findings import Finding
from segattn.check.split_result import SplitResult
from segattn.data.augmentation import TrainingTransform

DARK = 15
"""Largest value of images that use at most 12 of 16 bits, after scaling to 8 bits."""

MOSTLY = 0.5
"""Minimum share of ignored pixels of a split that is mostly ignored."""

DOMINANT = 0.99
"""Minimum share of the valid pixels of a dominant class."""

RATIO = 10_000
"""Minimum ratio between the pixels of the most frequent and the rarest class of an extreme imbalance."""

SHOWN_CLASSES = 12


def file_findings(result: SplitResult) -> Iterator[Finding]:
    """Files that cannot be read or do not match."""
    texts: dict[str, tuple[str, Literal["image", "mask", "instances"], str]] = {
        "unreadable-image": ("image", "image", "cannot be read; the first: {first}"),
        "unreadable-label": ("label file", "mask", "cannot be read as labels; the first: {first}"),
        "unreadable-instances": ("instance map", "instances", "cannot be used; the first: {first}"),
        "color-label": ("label file", "mask", "with colors, but one channel of label values is needed."),
        "size-mismatch": ("label file", "mask", "with another size than the image; the first: {first}."),
    }
    for kind, (name, file, text) in texts.items():
        affected = [seen for seen in result.inspections if kind in seen.problems]
        if affected:
            what = f"{_count(affected, name)} {text.format(first=affected[0].problems[kind])}"
            yield Finding(kind, result.name, what, result.paths(affected, file))


def dark_findings(result: SplitResult) -> Iterator[Finding]:
    """Nearly black images, if they are at least half of all."""
    read = [seen for seen in result.inspections if seen.brightest is not None]
    dark = [seen for seen in read if seen.brightest is not None and seen.brightest <= DARK]
    if dark and 2 * len(dark) >= len(read):
        what = f"{len(dark)} of {len(read)} images have no value above {DARK} of 255."
        yield Finding("dark-image", result.name, what, result.paths(dark, "image"))


def class_findings(result: SplitResult) -> Iterator[Finding]:
    """Ignored files, and absent or rare classes."""
    if not result.sound:
        return
    empty = [seen for seen in result.sound if seen.ignored_share == 1]
    if len(empty) == len(result.sound):
        what = "Every pixel of every label file is ignored."
        yield Finding("all-ignored", result.name, what, result.paths(empty, "mask"))
        return
    if empty:
        what = f"Every pixel is ignored in {_count(empty, 'label file')}."
        yield Finding("ignored-label", result.name, what, result.paths(empty, "mask"))
    counts, ignored = result.pixels[:-1], int(result.pixels[-1])
    share = ignored / (ignored + counts.sum())
    if share >= MOSTLY:
        yield Finding("mostly-ignored", result.name, f"{share:.0%} of all pixels are ignored.")
    yield from _unequal(result)


def _unequal(result: SplitResult) -> Iterator[Finding]:
    """A single class, classes that never occur, and extreme imbalance."""
    counts, names = result.pixels[:-1], result.dataset.classes.names
    present = np.flatnonzero(counts)
    if len(present) == 1 and len(names) > 1:
        what = f"All {len(result.sound)} label files contain only {names[present[0]]}."
        yield Finding("one-class", result.name, what)
        return
    absent = [name for name, count in zip(names, counts.tolist(), strict=True) if not count]
    if absent and result.is_complete:
        kind = "never-present" if result.name == "train" else "never-scored"
        what = f"{len(absent)} of {len(names)} classes never occur: {_listed(absent)}."
        yield Finding(kind, result.name, what)
    if result.name != "train":
        return
    top, rarest = int(present[np.argmax(counts[present])]), int(present[np.argmin(counts[present])])
    share = counts[top] / counts.sum()
    if share >= DOMINANT:
        yield Finding("imbalance", result.name, f"{names[top]} covers {share:.2%} of the valid pixels.")
    elif result.is_complete and counts[top] >= RATIO * counts[rarest]:
        ratio = counts[top] // counts[rarest]
        what = f"{names[top]} has {ratio:,} times as many pixels as {names[rarest]}."
        yield Finding("imbalance", result.name, what)


def crop_findings(result: SplitResult, transform: TrainingTransform) -> Iterator[Finding]:
    """Training crops that are larger than the images even at the largest scale."""
    crop, largest = transform.crop_size, transform.scale_range[1]
    read = [seen for seen in result.inspections if seen.size is not None]
    sizes = [[round(side * largest) for side in transform.size_rule.resized(*seen.size)] for seen in read if seen.size]
    small = [seen for seen, size in zip(read, sizes, strict=True) if size[0] < crop[0] or size[1] < crop[1]]
    if small:
        what = (
            f"{len(small)} of {len(read)} images are smaller than the crop of {crop[1]}x{crop[0]} pixels even when "
            f"enlarged {largest:g} times."
        )
        yield Finding("large-crop", result.name, what, result.paths(small, "image"))


def duplicate_findings(results: Mapping[str, SplitResult]) -> Iterator[Finding]:
    """Images with exactly the pixels of an image in an earlier split, or the same files."""
    names = list(results)
    for position, split in enumerate(names):
        for earlier in names[:position]:
            known = {seen.digest: seen for seen in results[earlier].inspections if seen.digest}
            twins = [(seen, known[seen.digest]) for seen in results[split].inspections if seen.digest in known]
            images = results[split].paths((seen for seen, _ in twins), "image")
            originals = results[earlier].paths((seen for _, seen in twins), "image")
            if images:
                what = (
                    f"{_count(images, 'image')} with exactly the pixels of images of {earlier}; the first equals "
                    f"{originals[0]}."
                )
                yield Finding("duplicates", split, what, images)


def has_wrong_labels(findings: list[Finding], result: SplitResult) -> bool:
    """Whether at least half of the label files are wrong, so that the class counts mean nothing."""
    wrong = {path for finding in findings if finding.severity == "error" for path in finding.files}
    labels = result.paths(result.inspections, "mask")
    return 2 * sum(path in wrong for path in labels) >= max(1, len(labels))


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) > 1 else ''}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
    return "; ".join(names[:SHOWN_CLASSES]) + more  # class names may contain commas
