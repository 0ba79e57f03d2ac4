"""Rules about the values in the label files of a split."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segattn.check.findings import Finding
from segattn.check.inspection import Array, Inspection
from segattn.check.split_result import SplitResult
from segattn.data.ade20k import CLASSES as ADE20K
from segattn.data.cityscapes import CLASSES as CITYSCAPES
from segattn.data.cityscapes import NUM_LABEL_IDS
from segattn.data.label_map import LabelMap
from segattn.sample import ClassTable

IGNORED = 255
"""The usual value of pixels without a class."""

FEW = 8
"""Minimum number of files for a rule about a value that occurs in none of them."""

SPECKLES = 20
"""Minimum number of objects of at most four pixels in a speckled label file."""

DENSITY = 1 / 300
"""Minimum number of such objects per pixel: fine branches in CamVid reach 1/750, JPEG artifacts start at 1/250."""

TINY_SHARE = 2 / 3
"""Their minimum share of all objects: drawn labels stay at or below it, JPEG and interpolation are above."""


@dataclass(frozen=True)
class Labels:
    """Label files of a split that no rule has explained yet, and the context that the rules need."""

    files: Sequence[Inspection]
    all_splits: Sequence[Inspection]  # the same and all label files of the other splits
    classes: ClassTable
    label_map: LabelMap

    def has_label_ids(self, label_ids: Iterable[int]) -> bool:
        """Whether the classes have these label ids, in any order."""
        return sorted(self.classes.label_ids) == sorted(label_ids)

    def shares_names(self, classes: ClassTable) -> bool:
        """Whether at least half of the names of a class table occur here."""
        own, other = ({name.split(",")[0].lower() for name in table.names} for table in (self.classes, classes))
        return 2 * len(own & other) >= len(classes)


def label_findings(result: SplitResult, elsewhere: Sequence[Inspection]) -> Iterator[Finding]:
    """Problems with the label values; each file is reported by the first rule that applies.

    Some rules also look at the inspections of the other splits (elsewhere).
    """
    left = [seen for seen in result.inspections if len(seen.values)]
    label_map = result.dataset.label_map
    for kind, (what, rule) in RULES.items():
        affected = rule(Labels(left, [*left, *elsewhere], result.dataset.classes, label_map)) if left else []
        if affected:
            values = label_map.listed(np.unique(np.concatenate([seen.unknown for seen in affected])))
            count = f"{len(affected)} label file{'s' if len(affected) > 1 else ''}"
            what = f"{count} {what.format(values=values)}."
            yield Finding(kind, result.name, what, result.paths(affected, "mask"))
            left = [seen for seen in left if all(seen is not other for other in affected)]


def _binary_255(labels: Labels) -> list[Inspection]:
    """Only 0 and 255 where two classes are expected: 255 would be ignored, or is unknown."""
    if any(is_foreground(seen.values) for seen in labels.all_splits):
        return []
    return _perhaps_255(labels)


def _perhaps_255(labels: Labels) -> list[Inspection]:
    is_ignored = any(IGNORED in seen.values and is_foreground(seen.values) for seen in labels.all_splits)
    if is_ignored or not may_be_foreground(labels.classes, labels.label_map):
        return []
    return [seen for seen in labels.files if IGNORED in seen.values]


def may_be_foreground(classes: ClassTable, label_map: LabelMap) -> bool:
    """Whether 255 may be the foreground: there are two classes, and 255 is neither of them."""
    return len(classes) <= 2 and IGNORED not in classes.label_ids and not label_map.of_colors


def is_foreground(values: Array) -> bool:
    """Whether there are values other than 0 and 255."""
    return bool(((values != 0) & (values != IGNORED)).any())


def _cityscapes_train_ids(labels: Labels) -> list[Inspection]:
    """Train ids (0..18 and 255) read as label ids: roads, sidewalks and buildings would be ignored."""
    if not labels.has_label_ids(CITYSCAPES.label_ids):
        return []
    found = [seen for seen in labels.files if np.isin(seen.values, [*range(len(CITYSCAPES)), IGNORED]).all()]
    if len(found) == len(labels.files) >= FEW:  # the label ids of vegetation, sky and cars are not train ids
        return found
    return [seen for seen in found if not seen.is_sound or seen.ignored_share >= 0.5]


def _cityscapes_label_ids(labels: Labels) -> list[Inspection]:
    """Label ids (0..33), but the classes are listed by train id."""
    if not labels.has_label_ids(range(len(CITYSCAPES))):
        return []
    found = [seen for seen in labels.files if np.isin(seen.values, [*range(NUM_LABEL_IDS), IGNORED]).all()]
    beyond = [seen for seen in found if np.isin(seen.values, range(len(CITYSCAPES) + 1, NUM_LABEL_IDS)).any()]
    return beyond if labels.shares_names(CITYSCAPES) else [seen for seen in beyond if len(seen.unknown)]


def _ade20k_reduced_twice(labels: Labels) -> list[Inspection]:
    """Files from which 1 has already been subtracted: 0..149 and 255."""
    if not labels.has_label_ids(ADE20K.label_ids):
        return []
    return [seen for seen in labels.files if seen.values[-1] in (IGNORED - 1, IGNORED)]


def _ade20k_not_reduced(labels: Labels) -> list[Inspection]:
    """Files as released (0..150), but the classes are listed as 0..149."""
    if not labels.has_label_ids(range(len(ADE20K))):
        return []
    largest = max(int(seen.values[-1]) for seen in labels.files)
    never_ignored = largest < IGNORED and len(labels.files) >= FEW and labels.shares_names(ADE20K)
    return list(labels.files) if largest == len(ADE20K) or never_ignored else []


def _gray_of_colors(labels: Labels) -> list[Inspection]:
    """Color masks converted to gray: every unknown value is the brightness of a class color."""
    if labels.label_map.of_colors or len(labels.classes) > 64:
        return []
    brightness = np.rint(labels.classes.palette @ np.array([0.299, 0.587, 0.114]))
    near = {int(value) + step for value in brightness for step in (-1, 0, 1)}
    return [seen for seen in labels.files if len(seen.unknown) > 1 and set(seen.unknown.tolist()) <= near]


def _gray(labels: Labels) -> list[Inspection]:
    unknown = [seen for seen in labels.files if len(seen.unknown)] if labels.label_map.of_colors else []
    return [seen for seen in unknown if not (seen.values % 0x010101).any()]


def _speckled(labels: Labels) -> list[Inspection]:
    found = [seen for seen in labels.files if seen.tiny >= max(SPECKLES, DENSITY * int(seen.pixels.sum()))]
    return [seen for seen in found if seen.tiny >= TINY_SHARE * int(seen.objects[:, 2].sum())]


Rule = Callable[[Labels], list[Inspection]]
"""Returns the affected files."""

RULES: dict[str, tuple[str, Rule]] = {
    "jpeg-label": (
        "saved as JPEG, which changes values",
        lambda labels: [seen for seen in labels.files if seen.format in ("JPEG", "MPO")],
    ),
    "palette-label": (
        "with palettes that give the indices the colors of other classes",
        lambda labels: [seen for seen in labels.files if seen.wrong_palette],
    ),
    "binary-255": ("with the foreground as 255, which is not a class here", _binary_255),
    "perhaps-255": ("with 255, which is not a class here and never occurs together with the other class", _perhaps_255),
    "cityscapes-train-ids": ("with Cityscapes train ids where label ids are expected", _cityscapes_train_ids),
    "cityscapes-label-ids": ("with Cityscapes label ids where train ids are expected", _cityscapes_label_ids),
    "ade20k-reduced-twice": ("with 0..149 and 255: ADE20K's label 0 would be removed twice", _ade20k_reduced_twice),
    "ade20k-not-reduced": ("with 0..150 as released with ADE20K, but 0..149 is expected", _ade20k_not_reduced),
    "gray-of-colors": ("with the brightness of the class colors: color masks were converted to gray", _gray_of_colors),
    "gray-label": ("in gray, but the classes are listed by color", _gray),
    "interpolated-label": (
        "with very many unknown values, as after JPEG compression or interpolation",
        lambda labels: [seen for seen in labels.files if len(seen.unknown) > 16 + len(labels.classes)],
    ),
    "unknown-values": (
        "with values that are neither a class nor ignored: {values}",
        lambda labels: [seen for seen in labels.files if len(seen.unknown)],
    ),
    "speckled-label": ("with very many objects of at most four pixels", _speckled),
}
"""By kind of finding, the specific ones first: the problem, and the rule that finds the affected files."""
