"""Copy-paste: objects of other training images, pasted into training crops.

Kisantal et al.: Augmentation for Small Object Detection. 2019, https://arxiv.org/abs/1902.07296.
Ghiasi et al.: Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation. CVPR 2021,
https://arxiv.org/abs/2012.07177 (no blending at the edges).

Differences from the papers: an object is a connected component of a class, so no instance masks are needed. The class
of a pasted object is drawn uniformly.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from segattn.data.dataset import SegmentationDataset
from segattn.data.object_sampling import ObjectSampler
from segattn.io.image_files import resize_image
from segattn.io.raster_files import Pixels
from segattn.sample import ClassTable, SizeRule

MAX_OBJECTS = 4
"""A crop with pasted objects gets 1 to this many."""

_POSITION_TRIES = 10


class Patch(NamedTuple):
    """An object to paste: its bounding box, scaled and flipped.

    Attributes:
        image: its pixels.
        inside: the pixels that belong to the object.
        class_id: its class.
        positions: positions to try in a crop, (down, right), each in 0..1 of the room that the crop has.
    """

    image: Pixels
    inside: Bool[np.ndarray, "h w"]
    class_id: int
    positions: Float64[np.ndarray, "tries 2"]


Place: TypeAlias = tuple[slice, slice, Patch]
"""Rows and columns of a crop, and the patch that belongs there."""


class CopyPaste:
    """Decides which crops get objects, and cuts these out of other images.

    Args:
        dataset: the training images.
        sampler: draws the objects.
        share: probability that a crop gets objects.
        size_rule: image size at scale 1.
        scale_range: smallest and largest random scale of an object.
        flip: probability of a horizontal flip of an object.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        sampler: ObjectSampler,
        share: float,
        *,
        size_rule: SizeRule,
        scale_range: tuple[float, float],
        flip: float,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.share = share
        self.size_rule = size_rule
        self.scale_range = scale_range
        self.flip = flip

    def draw(self, seed: tuple[int, ...], image: int) -> list[Patch]:
        """Return the objects to paste into the crop with this seed, from images other than its own."""
        generator = np.random.default_rng((*seed, 2))  # neither the numbers of the augmentation nor of the centers
        if generator.random() >= self.share:
            return []
        count = generator.integers(1, MAX_OBJECTS + 1)
        drawn = [self.sampler.draw(generator) for _ in range(count)]
        return [self._patch(each, generator) for each in drawn if each["image"] != image]

    def _patch(self, drawn: np.void, generator: np.random.Generator) -> Patch:
        raw = self.dataset.read(int(drawn["image"]))
        rows, columns, inside = object_at(raw.mask, (int(drawn["row"]), int(drawn["column"])))
        scale = generator.uniform(*self.scale_range)
        full = self.size_rule.resized(*raw.mask.shape)
        height, width = (
            max(1, round(side * scale * after / before))
            for side, after, before in zip(inside.shape, full, raw.mask.shape, strict=True)
        )
        image = resize_image(raw.image[rows, columns], (height, width))
        inside = cv2.resize(inside.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
        if generator.random() < self.flip:
            image, inside = image[:, ::-1], inside[:, ::-1]
        return Patch(image, inside, int(drawn["class_id"]), generator.random((_POSITION_TRIES, 2)))


def object_at(
    mask: UInt8[np.ndarray, "h w"], pixel: tuple[int, int]
) -> tuple[slice, slice, Bool[np.ndarray, "box_h box_w"]]:
    """Find the object at a pixel (row, column): rows and columns of its bounding box, and its pixels in the box."""
    filled = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.uint8)  # OpenCV needs a border of one pixel
    only_filled = 8 | cv2.FLOODFILL_MASK_ONLY | (1 << 8)  # 8-connected; writes 1 into `filled` only
    _, _, _, (left, top, width, height) = cv2.floodFill(
        np.ascontiguousarray(mask), filled, pixel[::-1], 0, 0, 0, only_filled
    )
    rows, columns = slice(top, top + height), slice(left, left + width)
    return rows, columns, filled[1:-1, 1:-1][rows, columns] > 0


def free_places(patches: Sequence[Patch], ignored: Bool[np.ndarray, "h w"]) -> list[Place]:
    """Find rows and columns for each patch: the first of its positions at which it covers no ignored pixel.

    A patch that is larger than the crop, or has no such position, is left out.
    """
    return [(*place, patch) for patch in patches if (place := _free_place(patch, ignored))]


def _free_place(patch: Patch, ignored: Bool[np.ndarray, "h w"]) -> tuple[slice, slice] | None:
    (height, width), room = patch.inside.shape, np.subtract(ignored.shape, patch.inside.shape)
    if room.min() < 0:
        return None
    for top, left in (patch.positions * (room + 1)).astype(int):
        rows, columns = slice(top, top + height), slice(left, left + width)
        if not (ignored[rows, columns] & patch.inside).any():
            return rows, columns
    return None


def class_indices(classes: ClassTable, names: Sequence[str] | None) -> list[int]:
    """The classes whose objects are pasted: those with these names, or by default the countable ones.

    Raises:
        ValueError: if a class does not exist, or none is countable.
    """
    if names is None:
        if not classes.things:
            raise ValueError("copy_paste needs copy_paste_classes, because no class of the data set is a thing.")
        return list(classes.things)
    if not names or set(names) - set(classes.names):
        raise ValueError(f"copy_paste_classes must list some of {', '.join(classes.names)}, got {list(names)}.")
    return [classes.names.index(name) for name in names]
