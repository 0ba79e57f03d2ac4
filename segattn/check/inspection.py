"""Inspecting one pair of files: all that the rules need, in a few hundred bytes."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import Image
from torch.utils.data import Dataset

from segattn.data import SegmentationDataset
from segattn.data.errors import ColorMaskError, DataError
from segattn.data.label_map import color_values
from segattn.io.raster_files import channel_moments
from segattn.objects.ground_truth import target_objects
from segattn.objects.size_bins import ObjectSizes, pixel_edges
from segattn.sample import IGNORE_INDEX

TINY = 4
"""Largest area in pixels of objects that are more likely artifacts than annotations."""

Array = npt.NDArray[np.int64]
_EMPTY: Array = np.zeros(0, dtype=np.int64)


@dataclass
class Inspection:
    """What is known about a pair of files.

    Attributes:
        index: index of the pair in its data set.
        problems: reasons why a file cannot be used, by kind of finding.
        size: (height, width) of the image after EXIF rotation; None if it cannot be read.
        digest: size, checksum and, of RGB, channel sums of the image's pixels.
        brightest: largest value of 8-bit RGB; None for other images.
        moments: mean of each channel, and mean of its squares, shape (2, channels); empty for 8-bit RGB.
        values: the values in the label file, ascending.
        pixels: number of pixels with each value.
        known: whether each value is known to the label map.
        classes: class index of each value, or ``IGNORE_INDEX``; empty if a value is unknown.
        format: file format of the label file, as Pillow names it.
        wrong_palette: whether the palette of the label file gives values the colors of other classes.
        objects: rows of (class, size bin, number of objects).
        tiny: number of objects with at most four pixels.
    """

    index: int
    problems: dict[str, str] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    digest: tuple[int, ...] = ()
    brightest: int | None = None
    moments: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 0)))
    values: Array = field(default_factory=_EMPTY.copy)
    pixels: Array = field(default_factory=_EMPTY.copy)
    known: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    classes: Array = field(default_factory=_EMPTY.copy)
    format: str | None = None
    wrong_palette: bool = False
    objects: Array = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    tiny: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether the label file contains only known values."""
        return bool(len(self.classes))

    @property
    def unknown(self) -> Array:
        """Values unknown to the label map."""
        return self.values[~self.known]

    @property
    def ignored_share(self) -> float:
        """Share of ignored pixels of a sound label file."""
        return float(self.pixels[self.classes == IGNORE_INDEX].sum() / self.pixels.sum())


class Inspector(Dataset[Inspection]):
    """Inspects the pairs of a data set."""

    def __init__(self, dataset: SegmentationDataset, sizes: ObjectSizes) -> None:
        self.dataset = dataset
        self.sizes = sizes

    def __getitem__(self, index: int) -> Inspection:
        pair = self.dataset.pairs[index]
        seen = Inspection(index)
        try:
            image = self.dataset.read_image(pair.image)
            seen.size = (image.shape[0], image.shape[1])
            seen.digest = (*image.shape[:2], zlib.crc32(image.data))
            if self.dataset.channels is None:
                seen.digest += tuple(map(int, cv2.sumElems(image)))
                seen.brightest = int(image.max())
            else:
                seen.moments = channel_moments(image)
        except DataError as error:
            seen.problems["unreadable-image"] = str(error)
        try:
            self._inspect_labels(pair.mask, seen)
        except ColorMaskError as error:
            seen.problems["color-label"] = str(error)
        except DataError as error:
            seen.problems["unreadable-label"] = str(error)
        return seen

    def values(self, index: int) -> Array:
        """The values in the label file of a pair, ascending; empty if it cannot be read."""
        try:
            return _value_counts(self.dataset.read_values(self.dataset.pairs[index].mask))[0]
        except DataError:
            return _EMPTY

    def _inspect_labels(self, path: Path, seen: Inspection) -> None:
        """Add what the label file contains."""
        labels = self.dataset.read_values(path)
        seen.values, seen.pixels = _value_counts(labels)
        label_map = self.dataset.label_map
        seen.known = label_map.knows(seen.values)
        self._inspect_header(path, seen)
        if seen.size is not None and labels.shape != seen.size:
            rotated = " (rotated by 90 degrees?)" if labels.shape == seen.size[::-1] else ""
            seen.problems["size-mismatch"] = (
                f"the image has {seen.size[1]}x{seen.size[0]} pixels, its labels {labels.shape[1]}x{labels.shape[0]}"
                f"{rotated}"
            )
        if not seen.known.all():
            return
        seen.classes = label_map(seen.values[None], path)[0].astype(np.int64)
        try:
            self._count_objects(label_map(labels, path), seen)
        except DataError as error:
            seen.problems["unreadable-instances"] = str(error)

    def _count_objects(self, mask: UInt8[np.ndarray, "h w"], seen: Inspection) -> None:
        """Add the objects of a mask."""
        path = self.dataset.pairs[seen.index].instances
        instances = None if path is None else self.dataset.read_instances(path)
        if instances is not None and instances.shape != mask.shape:
            size, expected = (f"{width}x{height}" for height, width in (instances.shape, mask.shape))
            raise DataError(f"The instance map {path} has {size} pixels, its label file {expected}.")
        found = target_objects(mask, len(self.dataset.classes), ignore_index=IGNORE_INDEX, instances=instances)
        edges = pixel_edges(self.sizes.edges, *mask.shape, relative=self.sizes.relative)
        bins = np.searchsorted(edges, found.size[1:], side="right")
        rows, counts = np.unique(found.class_id[1:] * (len(edges) + 1) + bins, return_counts=True)
        seen.objects = np.column_stack([*np.divmod(rows, len(edges) + 1), counts])
        seen.tiny = int((found.size[1:] <= TINY).sum())

    def _inspect_header(self, path: Path, seen: Inspection) -> None:
        """Add the file format, and whether a palette contradicts the colors of the classes."""
        if path.suffix == ".mat":
            return
        with Image.open(path) as image:
            seen.format = image.format
            palette = (image.getpalette() or []) if image.mode == "P" and not self.dataset.label_map.of_colors else []
        colors = color_values(np.reshape(palette, (-1, 3)).astype(np.uint8)).tolist()
        classes = self.dataset.classes
        label_of = dict(zip(color_values(classes.palette).tolist(), classes.label_ids, strict=True))
        used = [(value, colors[value]) for value in seen.values.tolist() if value < len(colors)]
        agrees = [label_of[color] == value for value, color in used if color in label_of]
        seen.wrong_palette = agrees.count(False) > agrees.count(True)


def _value_counts(labels: npt.NDArray[np.integer]) -> tuple[Array, Array]:
    """The values of an array, ascending, and the number of occurrences of each."""
    if labels.dtype == np.uint8 and labels.size < 1 << 24:  # OpenCV counts in float32
        counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel().astype(np.int64)
        values = np.flatnonzero(counts)
        return values, counts[values]
    found, number = np.unique(labels, return_counts=True)
    return found.astype(np.int64), number.astype(np.int64)
