"""What the values in the label files of a split give away."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from segattn.check.findings import Finding
from segattn.check.inspection import Array, Inspection
from segattn.check.split import SplitResult
from segattn.data.ade20k_classes import CLASSES as ADE20K
from segattn.data.cityscapes import CLASSES as CITYSCAPES
from segattn.data.cityscapes import NUM_LABEL_IDS
from segattn.data.label_map import LabelMap
from segattn.sample import IGNORE_INDEX, ClassTable

VOID = 255
"""The value that most tools give to pixels without a class."""

FEW = 8
"""Files from which on it means something that none of them holds a value that is usually there."""

UNLIKELY = 0.01
"""Probability below which it is no chance that files which hold one value never hold another."""

SPECKLES = 20
"""Objects of at most four pixels in one label file that are too few to speak of."""

DENSITY = 1 / 300
"""Objects of at most four pixels for each pixel: fine branches in CamVid reach 1/750, JPEG begins at 1/250."""

TINY_SHARE = 2 / 3
"""Their share of all objects: drawn labels stay below or near it, JPEG and interpolation lie above."""


@dataclass(frozen=True)
class Labels:
    """Label files of a split that no rule has explained yet, those of the other splits, and how values are read."""

    files: Sequence[Inspection]
    elsewhere: Sequence[Inspection]
    classes: ClassTable
    label_map: LabelMap

    @property
    def label_ids(self) -> list[int]:
        """The values of the classes."""
        return list(self.classes.label_ids)


Rule = Callable[[Labels], tuple[str, list[Inspection]]]
"""Says what is wrong and with which files; none if nothing is."""


def label_findings(result: SplitResult, elsewhere: Sequence[Inspection]) -> Iterator[Finding]:
    """What is wrong with the values, each file under the first rule that explains it.

    Args:
        result: of the split.
        elsewhere: what the other splits show.
    """
    left = [seen for seen in result.inspections if len(seen.values)]
    label_map = result.dataset.label_map
    for kind, rule in RULES.items():
        what, concerned = rule(Labels(left, elsewhere, result.dataset.classes, label_map)) if left else ("", [])
        if concerned:
            yield Finding(kind, result.name, f"{_count(concerned)} {what}", result.mask_paths(concerned))
            explained = {seen.index for seen in concerned}
            left = [seen for seen in left if seen.index not in explained]


def _count(files: Sequence[Inspection]) -> str:
    return f"{len(files)} label file{'s' if len(files) > 1 else ''}"


def _jpeg(labels: Labels) -> tuple[str, list[Inspection]]:
    return "saved as JPEG, which changes values.", [seen for seen in labels.files if seen.format in ("JPEG", "MPO")]


def _palette(labels: Labels) -> tuple[str, list[Inspection]]:
    what = "with palettes whose indices are no labels: they show the colors of other classes."
    return what, [seen for seen in labels.files if seen.wrong_palette]


def _palettes_apart(labels: Labels) -> tuple[str, list[Inspection]]:
    """Most colors stand at other indices in other files, as where each file was saved with a palette of its own."""
    places: dict[int, Counter[int]] = defaultdict(Counter)
    files = [seen for seen in labels.files if len(seen.colors)]
    for seen in files:
        for value, color in zip(seen.values.tolist(), seen.colors.tolist(), strict=True):
            places[color][value] += 1
    several = [counts for counts in places.values() if counts.total() > 1]
    wandering = sum(len(counts) > 1 for counts in several)
    what = "with palettes that contradict each other: one color has other indices in other files."
    return what, files if 2 * wandering > len(several) else []


def _binary_255(labels: Labels) -> tuple[str, list[Inspection]]:
    """0 and 255 where two classes are expected: 255 would be ignored, or is unknown."""
    what, white = "with the foreground as 255, which is no class here.", _white(labels)
    if not white:
        return what, []
    everywhere = [*labels.files, *labels.elsewhere]
    others = sum(more_than_void(seen.values) for seen in everywhere)
    in_parts = sum(VOID in seen.values and 0 in seen.values for seen in everywhere)
    by_chance = math.comb(len(everywhere) - others, in_parts) / math.comb(len(everywhere), in_parts)
    # One file alone proves nothing: the only one with the foreground may well be one without void.
    return what, white if not others or (others > 1 and by_chance < UNLIKELY) else []


def _perhaps_255(labels: Labels) -> tuple[str, list[Inspection]]:
    return "with 255, which is no class here, and never beside the class that others show.", _white(labels)


def _white(labels: Labels) -> list[Inspection]:
    """Files that hold 255 where two classes are expected, unless it is void, as beside 0 and the other class."""
    if not may_mean_two_things(labels.classes, labels.label_map):
        return []
    if any(VOID in seen.values and more_than_void(seen.values) for seen in (*labels.files, *labels.elsewhere)):
        return []
    return [seen for seen in labels.files if VOID in seen.values]


def may_mean_two_things(classes: ClassTable, label_map: LabelMap) -> bool:
    """Whether 255 may be void, or the foreground of two classes in masks of 0 and 255."""
    return len(classes) <= 2 and VOID not in classes.label_ids and not label_map.of_colors


def more_than_void(values: Array) -> bool:
    """Whether there are values beside 0 and 255."""
    return bool(((values != 0) & (values != VOID)).any())


def _cityscapes_train_ids(labels: Labels) -> tuple[str, list[Inspection]]:
    """Train ids (0..18 and 255) read as label ids: roads, sidewalks and buildings are ignored then."""
    what = "with Cityscapes train ids where label ids are expected: read so, they mean other classes or none."
    if sorted(labels.label_ids) != sorted(CITYSCAPES.label_ids):
        return what, []
    found = [seen for seen in labels.files if np.isin(seen.values, [*range(len(CITYSCAPES)), VOID]).all()]
    hidden = [seen for seen in found if _hidden_share(seen) >= 0.5]
    all_of_many = len(found) == len(labels.files) >= FEW  # label ids of vegetation, sky and cars lie above train ids
    return what, found if all_of_many or 2 * len(hidden) > len(found) else hidden


def _cityscapes_label_ids(labels: Labels) -> tuple[str, list[Inspection]]:
    """Label ids (0..33) where the classes are listed by train id."""
    what = "with Cityscapes label ids where train ids are expected."
    named = {_plain(name) for name in labels.classes.names} & {_plain(name) for name in CITYSCAPES.names}
    if sorted(labels.label_ids) != list(range(len(CITYSCAPES))):
        return what, []
    found = [seen for seen in labels.files if np.isin(seen.values, [*range(NUM_LABEL_IDS), VOID]).all()]
    beyond = [seen for seen in found if ((seen.values > len(CITYSCAPES)) & (seen.values < NUM_LABEL_IDS)).any()]
    known_names = 2 * len(named) >= len(CITYSCAPES)
    return what, beyond if known_names else [seen for seen in beyond if len(seen.unknown)]


def _ade20k_reduced_twice(labels: Labels) -> tuple[str, list[Inspection]]:
    """Files from which 1 was subtracted already: 0..149 and 255."""
    what = "from which label 0 was taken out already (0..149 and 255): it would be reduced twice."
    if sorted(labels.label_ids) != sorted(ADE20K.label_ids):
        return what, []
    return what, [seen for seen in labels.files if seen.values[-1] in (VOID - 1, VOID)]


def _ade20k_not_reduced(labels: Labels) -> tuple[str, list[Inspection]]:
    """Files as released, 0..150, where the classes are listed as 0..149."""
    what = "as ADE20K was released (0..150, with 0 for all the rest) where 0..149 is expected: label 0 is not reduced."
    if sorted(labels.label_ids) != list(range(len(ADE20K))):
        return what, []
    largest = [int(seen.values[-1]) for seen in labels.files]
    if len(ADE20K) in largest and max(largest) == len(ADE20K):
        return what, list(labels.files)
    named = {_plain(name) for name in labels.classes.names} & {_plain(name) for name in ADE20K.names}
    never_void = max(largest) < VOID and len(labels.files) >= FEW and len(named) >= len(ADE20K) // 2
    return what, list(labels.files) if never_void else []


def _ade20k_other(labels: Labels) -> tuple[str, list[Inspection]]:
    what = "in which label 0 is ADE20K's rest, which is listed as a class here."
    if sorted(labels.label_ids) != list(range(len(ADE20K) + 1)):
        return what, []
    return what, [seen for seen in labels.files if seen.values[0] == 0]


def _grey_of_colors(labels: Labels) -> tuple[str, list[Inspection]]:
    """Color masks turned to grey: every strange value is the brightness of a class color."""
    what = "whose values are the brightness of the class colors: color masks were turned to grey."
    if labels.label_map.of_colors or len(labels.classes) > 64:
        return what, []
    brightness = np.rint(labels.classes.palette @ np.array([0.299, 0.587, 0.114]))
    near = {int(value) + step for value in brightness for step in (-1, 0, 1)}
    found = [seen for seen in labels.files if len(seen.unknown) > 1 and set(seen.unknown.tolist()) <= near]
    return what, found


def _grey(labels: Labels) -> tuple[str, list[Inspection]]:
    what = "in grey where the classes are listed by color."
    if not labels.label_map.of_colors:
        return what, []
    return what, [seen for seen in labels.files if len(seen.unknown) and not (seen.values % 0x010101).any()]


def _interpolated(labels: Labels) -> tuple[str, list[Inspection]]:
    limit = 16 + len(labels.classes)
    found = [seen for seen in labels.files if len(seen.unknown) > limit]
    most = max((len(seen.unknown) for seen in found), default=0)
    return f"with up to {most} stray values each: saved as JPEG once, or resized with interpolation.", found


def _unknown(labels: Labels) -> tuple[str, list[Inspection]]:
    found = [seen for seen in labels.files if len(seen.unknown)]
    values = np.unique(np.concatenate([seen.unknown for seen in found])) if found else np.zeros(0, dtype=np.int64)
    return f"with values that are neither a class nor ignored: {labels.label_map.listed(values)}.", found


def _speckled(labels: Labels) -> tuple[str, list[Inspection]]:
    what = "dotted with objects of at most four pixels."
    found = []
    for seen in labels.files:
        least = max(SPECKLES, DENSITY * int(seen.pixels.sum()), TINY_SHARE * int(seen.objects[:, 2].sum()))
        if seen.tiny >= least:
            found.append(seen)
    return what, found


RULES: dict[str, Rule] = {
    "jpeg-label": _jpeg,
    "palette-label": _palette,
    "palettes-apart": _palettes_apart,
    "binary-255": _binary_255,
    "perhaps-255": _perhaps_255,
    "cityscapes-train-ids": _cityscapes_train_ids,
    "cityscapes-label-ids": _cityscapes_label_ids,
    "ade20k-reduced-twice": _ade20k_reduced_twice,
    "ade20k-not-reduced": _ade20k_not_reduced,
    "ade20k-other-class": _ade20k_other,
    "grey-of-colors": _grey_of_colors,
    "grey-label": _grey,
    "interpolated-label": _interpolated,
    "unknown-values": _unknown,
    "speckled-label": _speckled,
}
"""By kind of finding, the telling ones first."""


def _hidden_share(seen: Inspection) -> float:
    """Share of the pixels that become no class."""
    hidden = np.ones(len(seen.values), dtype=bool) if not seen.is_sound else seen.classes == IGNORE_INDEX
    return float(seen.pixels[hidden].sum() / seen.pixels.sum())


def _plain(name: str) -> str:
    return name.split(",")[0].strip().lower()
