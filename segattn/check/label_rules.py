"""Rules about the values in the label files of a split."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segattn.check.findings import Finding
from segattn.check.inspection import Array, Inspection
from segattn.check.split_result import SplitResult
from segattn.data.ade20k_classes import CLASSES as ADE20K
from segattn.data.cityscapes import CLASSES as CITYSCAPES
from segattn.data.cityscapes import NUM_LABEL_IDS
from segattn.data.label_map import LabelMap
from segattn.sample import IGNORE_INDEX, ClassTable

VOID = 255
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
    """Label files of a split that no rule has explained yet, those of the other splits, and the label map."""

    files: Sequence[Inspection]
    elsewhere: Sequence[Inspection]
    classes: ClassTable
    label_map: LabelMap

    @property
    def all_splits(self) -> list[Inspection]:
        """Label files of all splits."""
        return [*self.files, *self.elsewhere]

    @property
    def label_ids(self) -> list[int]:
        """The values of the classes."""
        return list(self.classes.label_ids)


Rule = Callable[[Labels], tuple[str, list[Inspection]]]
"""Returns a description of the problem, and the affected files; no files if there is no problem."""


def label_findings(result: SplitResult, elsewhere: Sequence[Inspection]) -> Iterator[Finding]:
    """Problems with the label values; each file is reported by the first rule that applies.

    Args:
        result: the split.
        elsewhere: inspections of the other splits.
    """
    left = [seen for seen in result.inspections if len(seen.values)]
    label_map = result.dataset.label_map
    for kind, rule in RULES.items():
        what, affected = rule(Labels(left, elsewhere, result.dataset.classes, label_map)) if left else ("", [])
        if affected:
            yield Finding(kind, result.name, f"{_count(affected)} {what}", result.mask_paths(affected))
            explained = {seen.index for seen in affected}
            left = [seen for seen in left if seen.index not in explained]


def _count(files: Sequence[Inspection]) -> str:
    return f"{len(files)} label file{'s' if len(files) > 1 else ''}"


def _jpeg(labels: Labels) -> tuple[str, list[Inspection]]:
    return "saved as JPEG, which changes values.", [seen for seen in labels.files if seen.format in ("JPEG", "MPO")]


def _palette(labels: Labels) -> tuple[str, list[Inspection]]:
    what = "with palettes that give the indices the colors of other classes."
    return what, [seen for seen in labels.files if seen.wrong_palette]


def _binary_255(labels: Labels) -> tuple[str, list[Inspection]]:
    """Only 0 and 255 where two classes are expected: 255 would be ignored, or is unknown."""
    masks = [] if any(is_foreground(seen.values) for seen in labels.all_splits) else _with_255(labels)
    return "with the foreground as 255, which is not a class here.", masks


def _perhaps_255(labels: Labels) -> tuple[str, list[Inspection]]:
    is_void = any(VOID in seen.values and is_foreground(seen.values) for seen in labels.all_splits)
    what = "with 255, which is not a class here and never occurs in one file with the class of other files."
    return what, [] if is_void else _with_255(labels)


def _with_255(labels: Labels) -> list[Inspection]:
    if not may_be_foreground(labels.classes, labels.label_map):
        return []
    return [seen for seen in labels.files if VOID in seen.values]


def may_be_foreground(classes: ClassTable, label_map: LabelMap) -> bool:
    """Whether 255 may be the foreground: there are two classes, and 255 is neither of them."""
    return len(classes) <= 2 and VOID not in classes.label_ids and not label_map.of_colors


def is_foreground(values: Array) -> bool:
    """Whether there are values other than 0 and 255."""
    return bool(((values != 0) & (values != VOID)).any())


def _cityscapes_train_ids(labels: Labels) -> tuple[str, list[Inspection]]:
    """Train ids (0..18 and 255) read as label ids: roads, sidewalks and buildings would be ignored."""
    what = "with Cityscapes train ids where label ids are expected."
    if sorted(labels.label_ids) != sorted(CITYSCAPES.label_ids):
        return what, []
    found = [seen for seen in labels.files if np.isin(seen.values, [*range(len(CITYSCAPES)), VOID]).all()]
    hidden = [seen for seen in found if _hidden_share(seen) >= 0.5]
    all_of_many = len(found) == len(labels.files) >= FEW  # label ids of vegetation, sky and cars lie above train ids
    return what, found if all_of_many or 2 * len(hidden) > len(found) else hidden


def _cityscapes_label_ids(labels: Labels) -> tuple[str, list[Inspection]]:
    """Label ids (0..33), but the classes are listed by train id."""
    what = "with Cityscapes label ids where train ids are expected."
    named = {_plain(name) for name in labels.classes.names} & {_plain(name) for name in CITYSCAPES.names}
    if sorted(labels.label_ids) != list(range(len(CITYSCAPES))):
        return what, []
    found = [seen for seen in labels.files if np.isin(seen.values, [*range(NUM_LABEL_IDS), VOID]).all()]
    beyond = [seen for seen in found if ((seen.values > len(CITYSCAPES)) & (seen.values < NUM_LABEL_IDS)).any()]
    known_names = 2 * len(named) >= len(CITYSCAPES)
    return what, beyond if known_names else [seen for seen in beyond if len(seen.unknown)]


def _ade20k_reduced_twice(labels: Labels) -> tuple[str, list[Inspection]]:
    """Files from which 1 has already been subtracted: 0..149 and 255."""
    what = "from which label 0 has already been removed (0..149 and 255): it would be removed twice."
    if sorted(labels.label_ids) != sorted(ADE20K.label_ids):
        return what, []
    return what, [seen for seen in labels.files if seen.values[-1] in (VOID - 1, VOID)]


def _ade20k_not_reduced(labels: Labels) -> tuple[str, list[Inspection]]:
    """Files as released (0..150), but the classes are listed as 0..149."""
    what = "as released with ADE20K (0..150, 0 means 'other'), but 0..149 is expected: label 0 is not removed."
    if sorted(labels.label_ids) != list(range(len(ADE20K))):
        return what, []
    largest = [int(seen.values[-1]) for seen in labels.files]
    if len(ADE20K) in largest and max(largest) == len(ADE20K):
        return what, list(labels.files)
    named = {_plain(name) for name in labels.classes.names} & {_plain(name) for name in ADE20K.names}
    never_void = max(largest) < VOID and len(labels.files) >= FEW and len(named) >= len(ADE20K) // 2
    return what, list(labels.files) if never_void else []


def _ade20k_other(labels: Labels) -> tuple[str, list[Inspection]]:
    what = "in which label 0 is ADE20K's 'other', which is listed as a class here."
    if sorted(labels.label_ids) != list(range(len(ADE20K) + 1)):
        return what, []
    return what, [seen for seen in labels.files if seen.values[0] == 0]


def _gray_of_colors(labels: Labels) -> tuple[str, list[Inspection]]:
    """Color masks converted to gray: every unknown value is the brightness of a class color."""
    what = "whose values are the brightness of the class colors: color masks were converted to gray."
    if labels.label_map.of_colors or len(labels.classes) > 64:
        return what, []
    brightness = np.rint(labels.classes.palette @ np.array([0.299, 0.587, 0.114]))
    near = {int(value) + step for value in brightness for step in (-1, 0, 1)}
    found = [seen for seen in labels.files if len(seen.unknown) > 1 and set(seen.unknown.tolist()) <= near]
    return what, found


def _gray(labels: Labels) -> tuple[str, list[Inspection]]:
    what = "in gray, but the classes are listed by color."
    if not labels.label_map.of_colors:
        return what, []
    return what, [seen for seen in labels.files if len(seen.unknown) and not (seen.values % 0x010101).any()]


def _interpolated(labels: Labels) -> tuple[str, list[Inspection]]:
    limit = 16 + len(labels.classes)
    found = [seen for seen in labels.files if len(seen.unknown) > limit]
    most = max((len(seen.unknown) for seen in found), default=0)
    return f"with up to {most} unknown values each, as after JPEG compression or interpolation.", found


def _unknown(labels: Labels) -> tuple[str, list[Inspection]]:
    found = [seen for seen in labels.files if len(seen.unknown)]
    values = np.unique(np.concatenate([seen.unknown for seen in found])) if found else np.zeros(0, dtype=np.int64)
    return f"with values that are neither a class nor ignored: {labels.label_map.listed(values)}.", found


def _speckled(labels: Labels) -> tuple[str, list[Inspection]]:
    what = "with very many objects of at most four pixels."
    found = []
    for seen in labels.files:
        least = max(SPECKLES, DENSITY * int(seen.pixels.sum()), TINY_SHARE * int(seen.objects[:, 2].sum()))
        if seen.tiny >= least:
            found.append(seen)
    return what, found


RULES: dict[str, Rule] = {
    "jpeg-label": _jpeg,
    "palette-label": _palette,
    "binary-255": _binary_255,
    "perhaps-255": _perhaps_255,
    "cityscapes-train-ids": _cityscapes_train_ids,
    "cityscapes-label-ids": _cityscapes_label_ids,
    "ade20k-reduced-twice": _ade20k_reduced_twice,
    "ade20k-not-reduced": _ade20k_not_reduced,
    "ade20k-other-class": _ade20k_other,
    "gray-of-colors": _gray_of_colors,
    "gray-label": _gray,
    "interpolated-label": _interpolated,
    "unknown-values": _unknown,
    "speckled-label": _speckled,
}
"""By kind of finding, the specific ones first."""


def _hidden_share(seen: Inspection) -> float:
    """Share of the pixels without a class."""
    hidden = np.ones(len(seen.values), dtype=bool) if not seen.is_sound else seen.classes == IGNORE_INDEX
    return float(seen.pixels[hidden].sum() / seen.pixels.sum())


def _plain(name: str) -> str:
    return name.split(",")[0].strip().lower()
