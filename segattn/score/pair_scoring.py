"""Scoring one pair of files: the rows of the object record, or the reason why there are none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Int32, Integer, UInt8

from segattn.data.class_file import LabelScheme
from segattn.data.dataset import SegmentationDataset
from segattn.data.errors import DataError
from segattn.data.label_files import read_colors, read_labels
from segattn.data.label_map import LabelMap, color_values
from segattn.metrics.record_columns import object_rows
from segattn.objects import pack_rows
from segattn.sample import IGNORE_INDEX
from segattn.score.mask_pairs import MaskPair

_JPEG = b"\xff\xd8\xff"
"""The first bytes of a JPEG file."""


@dataclass(frozen=True)
class PairScore:
    """The packed rows of a pair, and whether the mask was resized; or the problem, without rows."""

    pair: MaskPair
    rows: bytes | None = None
    resized: bool = False
    problem: str = ""


class PairScorer:
    """A sequence of scores; each is computed when it is read.

    Args:
        pairs: the files.
        scheme: the classes, and the meaning of the values in the label files.
        values: whether masks contain the values of the label files (``ids``) or class indices with 255 as ignored.
        resize: ``nearest`` resizes masks to the size of the label file; None reports other sizes as a problem.
        read_instances: reads an instance map as ids, 0 where there is no instance.
    """

    def __init__(
        self,
        pairs: Sequence[MaskPair],
        scheme: LabelScheme,
        *,
        values: Literal["ids", "indices"] = "ids",
        resize: Literal["nearest"] | None = None,
        read_instances: Callable[[Path], Int32[np.ndarray, "h w"]] = SegmentationDataset.read_instances,
    ) -> None:
        self.pairs = pairs
        self.classes = scheme.classes
        self._truth_map = scheme.label_map
        indices = LabelMap(range(len(scheme.classes)), ignore=[IGNORE_INDEX])
        self._mask_map = indices if values == "indices" else scheme.label_map
        self._resize = resize is not None
        self._read_instances = read_instances

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> PairScore:
        pair = self.pairs[index]
        try:
            return self._score(pair)
        except (DataError, OSError) as error:
            return PairScore(pair, problem=str(error))

    def _score(self, pair: MaskPair) -> PairScore:
        target = _read(self._truth_map, pair.truth)
        prediction = _read(self._mask_map, pair.mask)
        differs = prediction.shape != target.shape
        if differs and not self._resize:
            raise DataError(
                f"The mask {pair.mask} has {prediction.shape[1]}x{prediction.shape[0]} pixels but its label file "
                f"{pair.truth} has {target.shape[1]}x{target.shape[0]}; --resize nearest resizes the mask."
            )
        if differs:
            prediction = cv2.resize(prediction, target.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        unlabeled = int(((prediction == IGNORE_INDEX) & (target != IGNORE_INDEX)).sum())
        if unlabeled:
            raise DataError(
                f"The mask {pair.mask} contains an ignored value on {unlabeled} pixels whose class is known in "
                f"{pair.truth}; every such pixel needs a class."
            )
        names = self.classes.names
        ids = None if pair.instances is None else self._read_instances(pair.instances)
        if ids is not None and ids.shape != target.shape:
            raise DataError(
                f"The instance map {pair.instances} has {ids.shape[1]}x{ids.shape[0]} pixels but the label file "
                f"{pair.truth} has {target.shape[1]}x{target.shape[0]}."
            )
        rows = object_rows(prediction, target, len(names), IGNORE_INDEX, ids, image=pair.name, class_names=names)
        return PairScore(pair, pack_rows(rows), resized=differs)


def _read(label_map: LabelMap, path: Path) -> UInt8[np.ndarray, "h w"]:
    values: Integer[np.ndarray, "h w"] = color_values(read_colors(path)) if label_map.of_colors else read_labels(path)
    with path.open("rb") as file:
        if file.read(len(_JPEG)) == _JPEG:
            raise DataError(f"The file {path} is a JPEG file, whose compression changes label values; PNG keeps them.")
    return label_map(values, path)
