"""Looking at one pair of files: all that the rules need to know about it, in a few hundred bytes."""

import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import Image

from segattn.data import SegmentationDataset
from segattn.data.errors import ColorMaskError, DataError
from segattn.data.label_files import read_image
from segattn.objects.size_bins import ObjectSizes, fine_edges, pixel_edges
from segattn.objects.target_objects import target_objects
from segattn.sample import IGNORE_INDEX

TINY = 4
"""Area in pixels up to which an object is more likely an artefact than an annotation."""

Array = npt.NDArray[np.int64]
_RGB = np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_EMPTY: Array = np.zeros(0, dtype=np.int64)


@dataclass
class Inspection:
    """What one pair of files tells.

    Attributes:
        index: of the pair in its data set.
        problems: why a file cannot be used, by kind of finding.
        size: (height, width) of the upright image; None if it cannot be read.
        digest: size, checksum and channel sums of the image's pixels, which differ for different images but for chance.
        values: what the label file holds, ascending.
        pixels: how many pixels hold each value.
        known: whether each value stands for something.
        classes: class index of each known value, or ``IGNORE_INDEX``; of all values if all are known, else empty.
        format: of the label file, as Pillow names it.
        colors: the color of each value in the label file's palette, 65536 red + 256 green + blue; empty if it has none.
        wrong_palette: whether that palette gives values the colors of other classes.
        objects: rows of (class, fine size bin, number of objects).
        tiny: how many of them have at most four pixels.
    """

    index: int
    problems: dict[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    digest: tuple[int, ...] = ()
    values: Array = field(default_factory=_EMPTY.copy)
    pixels: Array = field(default_factory=_EMPTY.copy)
    known: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    classes: Array = field(default_factory=_EMPTY.copy)
    format: str | None = None
    colors: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    wrong_palette: bool = False
    objects: Array = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    tiny: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether the label file could be turned into classes."""
        return bool(len(self.classes))

    @property
    def unknown(self) -> Array:
        """Values that stand for nothing."""
        return self.values[~self.known]

    @property
    def ignored_share(self) -> float:
        """Share of the pixels that are ignored; of a sound label file."""
        return float(self.pixels[self.classes == IGNORE_INDEX].sum() / self.pixels.sum())


class Inspector:
    """Looks at the pairs of a data set by their indices.

    Args:
        dataset: whose files are read.
        sizes: the buckets that objects are counted by.
    """

    def __init__(self, dataset: SegmentationDataset, sizes: ObjectSizes) -> None:
        self.dataset = dataset
        self.sizes = sizes

    def __call__(self, index: int) -> Inspection:
        """Look at one pair."""
        pair = self.dataset.pairs[index]
        seen = Inspection(index)
        try:
            image = read_image(pair.image)
            _require_end(pair.image)
            seen.size = (image.shape[0], image.shape[1])
            seen.digest = (*image.shape[:2], zlib.crc32(image.data), *map(int, cv2.sumElems(image)))
        except DataError as error:
            seen.problems["unreadable-image"] = str(error)
        try:
            self._look_at_labels(pair.mask, seen)
        except ColorMaskError as error:
            seen.problems["color-label"] = str(error)
        except DataError as error:
            seen.problems["unreadable-label"] = str(error)
        return seen

    def values(self, index: int) -> Array:
        """What the label file of a pair holds, ascending; nothing if it cannot be read."""
        try:
            return _value_counts(self.dataset.read_values(self.dataset.pairs[index].mask))[0]
        except DataError:
            return _EMPTY

    def _look_at_labels(self, path: Path, seen: Inspection) -> None:
        """Add what the label file tells.

        Raises:
            DataError: if it cannot be read.
        """
        labels = self.dataset.read_values(path)
        _require_end(path)
        seen.values, seen.pixels = _value_counts(labels)
        label_map = self.dataset.label_map
        seen.known = label_map.knows(seen.values)
        self._look_at_header(path, seen)
        if seen.size is not None and labels.shape != seen.size:
            turned = ", as if one of them were turned" if labels.shape == seen.size[::-1] else ""
            seen.problems["size-mismatch"] = (
                f"an image of {seen.size[1]}x{seen.size[0]} pixels has labels of {labels.shape[1]}x{labels.shape[0]}"
                f"{turned}"
            )
        if not seen.known.all():
            return
        seen.classes = label_map(seen.values[None], path)[0].astype(np.int64)
        try:
            self._count_objects(label_map(labels, path), seen)
        except DataError as error:
            seen.problems["unreadable-instances"] = str(error)

    def _count_objects(self, mask: UInt8[np.ndarray, "h w"], seen: Inspection) -> None:
        """Add the objects of a mask.

        Raises:
            DataError: if its instance map cannot be used.
        """
        path = self.dataset.pairs[seen.index].instances
        instances = None
        if path is not None:
            instances = self.dataset.read_instances(path)
            _require_end(path)
            if instances.shape != mask.shape:
                own, needed = (f"{width}x{height}" for height, width in (instances.shape, mask.shape))
                raise DataError(f"The instance map {path} has {own} pixels, its label file {needed}.")
        relative = self.sizes.relative
        found = target_objects(mask, len(self.dataset.classes), ignore_index=IGNORE_INDEX, instances=instances)
        edges = pixel_edges(fine_edges(self.sizes.edges, relative=relative), *mask.shape, relative=relative)
        bins = np.searchsorted(edges, found.size[1:], side="right")
        rows, counts = np.unique(found.class_id[1:] * (len(edges) + 1) + bins, return_counts=True)
        seen.objects = np.column_stack([*np.divmod(rows, len(edges) + 1), counts])
        seen.tiny = int((found.size[1:] <= TINY).sum())

    def _look_at_header(self, path: Path, seen: Inspection) -> None:
        with Image.open(path) as image:
            seen.format = image.format
            colors = (image.getpalette() or []) if image.mode == "P" and not self.dataset.label_map.of_colors else []
        if not colors or seen.values[-1] >= 1 << 8:  # values of a data set of one's own may be no indices
            return
        table = np.zeros((1 << 8, 3), dtype=np.int32)
        table[: len(colors) // 3] = np.reshape(colors, (-1, 3))
        seen.colors = (table @ _RGB)[seen.values]
        classes = self.dataset.classes
        numbers = (classes.palette.astype(np.int32) @ _RGB).tolist()
        label_of = dict(zip(numbers, classes.label_ids, strict=True))
        pairs = zip(seen.values.tolist(), seen.colors.tolist(), strict=True)
        agreeing = [label_of[color] == value for value, color in pairs if color in label_of]
        seen.wrong_palette = agreeing.count(False) > agreeing.count(True)


def _require_end(path: Path) -> None:
    """Refuse a PNG file that ends too early, which a reader notices only where pixels are missing.

    Raises:
        DataError: if the mark of its end is missing.
    """
    with path.open("rb") as file:
        if file.read(len(_PNG)) != _PNG:
            return
        file.seek(-len(_PNG_END), os.SEEK_END)
        if file.read() == _PNG_END:
            return
        file.seek(0)
        if _PNG_END not in file.read():  # something may follow the end
            raise DataError(f"The file {path} is truncated: its end is missing.")


def _value_counts(labels: npt.NDArray[np.integer]) -> tuple[Array, Array]:
    """The values of an array, ascending, and how often each occurs."""
    if labels.dtype == np.uint8 and labels.size < 1 << 24:  # OpenCV counts in float32
        counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel().astype(np.int64)
        values = np.flatnonzero(counts)
        return values, counts[values]
    found, number = np.unique(labels, return_counts=True)
    return found.astype(np.int64), number.astype(np.int64)
