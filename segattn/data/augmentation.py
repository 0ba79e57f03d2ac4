"""Augmentation of training samples.

The recipe is OpenMMLab's: random scale, random crop in which no class covers more than a given share, flips,
photometric distortion, padding. The expensive steps run on the crop only.
"""

import os
import random
from collections.abc import Sequence
from typing import Any, TypeAlias

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no network look-up on import

import albumentations as A
import cv2
import numpy as np
from jaxtyping import Shaped, UInt8

from segattn.data.copy_paste import Patch, Place, free_places
from segattn.io.image_files import resize_image
from segattn.io.raster_files import Pixels
from segattn.sample import IGNORE_INDEX, SizeRule

Transform: TypeAlias = A.BasicTransform | A.BaseCompose
"""Any albumentations transform, or a composition such as ``OneOf``."""

Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels, or (top, left)."""

PADDING_COLOR = (124, 116, 104)
"""RGB of padded pixels: the ImageNet mean, so that padding is close to zero after normalization."""

MAX_SCALE = 100
"""Largest allowed scale."""

_CROP_TRIES = 10


class ScaledCrop(A.DualTransform):
    """Resize the image at random and crop a random window; the crop is smaller where the image is smaller.

    The scale is uniform. Up to ten windows are drawn until no class exceeds its share of the valid pixels. If a
    ``center`` (row, column) in the image is given, the window is centered on it instead, and shifted into the image.
    """

    def __init__(
        self, crop_size: Size, size_rule: SizeRule, *, scale_range: tuple[float, float], max_class_share: float
    ) -> None:
        super().__init__(p=1)
        self.crop_size = crop_size
        self.size_rule = size_rule
        self.scale_range = scale_range
        self.max_class_share = max_class_share

    @property
    def targets_as_params(self) -> list[str]:
        """The mask is needed to choose the window."""
        return ["mask"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the size of the resized image and the window (top, left) in it."""
        scale = self.py_random.uniform(*self.scale_range)
        size = tuple(max(1, round(side * scale)) for side in self.size_rule.resized(*data["mask"].shape))
        if (center := data.get("center")) is not None:
            return {"size": size, "corner": self._corner_around(center, data["mask"].shape, size)}
        mask = self._resize_mask(data["mask"], size)
        for _ in range(_CROP_TRIES):
            corner = tuple(
                self.py_random.randint(0, max(0, side - crop)) for side, crop in zip(size, self.crop_size, strict=True)
            )
            if self.max_class_share >= 1 or largest_class_share(self._window(mask, corner)) <= self.max_class_share:
                break
        return {"size": size, "corner": corner}

    def _corner_around(self, center: Size, full: Size, size: Size) -> Size:
        """The corner of the window around a pixel of the image, given the image size before and after resizing."""
        top, left = (
            min(max(0, int((pixel + 0.5) * side / before) - crop // 2), max(0, side - crop))
            for pixel, before, side, crop in zip(center, full, size, self.crop_size, strict=True)
        )
        return top, left

    def apply(self, img: np.ndarray, *, size: Size, corner: Size, **_: Any) -> np.ndarray:
        """Crop the resized image."""
        return self._window(resize_image(img, size), corner)

    def apply_to_mask(self, mask: np.ndarray, *, size: Size, corner: Size, **_: Any) -> np.ndarray:
        """Crop the resized mask."""
        return self._window(self._resize_mask(mask, size), corner)

    def _resize_mask(self, mask: np.ndarray, size: Size) -> np.ndarray:
        return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)

    def _window(self, array: np.ndarray, corner: Size) -> np.ndarray:
        (top, left), (height, width) = corner, self.crop_size
        return array[top : top + height, left : left + width]


def largest_class_share(mask: UInt8[np.ndarray, "h w"]) -> float:
    """The share of the most frequent class among the valid pixels; 1 if no pixel is valid."""
    counts = np.bincount(mask.ravel(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
    total = int(counts.sum())
    return int(counts.max()) / total if total else 1.0


class PasteObjects(A.DualTransform):
    """Paste the given ``patches`` in order, each where it covers no ignored pixel."""

    def __init__(self) -> None:
        super().__init__(p=1)

    @property
    def targets_as_params(self) -> list[str]:
        """The mask shows the ignored pixels."""
        return ["mask"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Find a place for each patch."""
        return {"places": free_places(data.get("patches", ()), data["mask"] == IGNORE_INDEX)}

    def apply(self, img: np.ndarray, *, places: Sequence[Place], **_: Any) -> np.ndarray:
        """Paste the pixels."""
        pasted = img.copy()
        for rows, columns, patch in places:
            pasted[rows, columns][patch.inside] = patch.image[patch.inside]
        return pasted

    def apply_to_mask(self, mask: np.ndarray, *, places: Sequence[Place], **_: Any) -> np.ndarray:
        """Paste the classes."""
        pasted = mask.copy()
        for rows, columns, patch in places:
            pasted[rows, columns][patch.inside] = patch.class_id
        return pasted


class PhotometricDistortion(A.ImageOnlyTransform):
    """Change brightness, contrast, saturation and hue, each with probability 0.5.

    Contrast is changed before or after the colors, at random. The ranges are those of OpenMMLab's
    ``PhotoMetricDistortion``: brightness +-32 of 255, contrast and saturation 0.5 to 1.5, hue +-18 of 180.
    """

    def __init__(self) -> None:
        super().__init__(p=1)

    def get_params(self) -> dict[str, Any]:
        """Draw which properties change, and by how much."""
        draw = self.py_random.uniform
        changes = {
            "brightness": draw(-32, 32),
            "contrast": draw(0.5, 1.5),
            "saturation": draw(0.5, 1.5),
            "hue": self.py_random.randint(-18, 18),
        }
        unchanged = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0}
        chosen = {name: value if draw(0, 1) < 0.5 else unchanged[name] for name, value in changes.items()}
        return {**chosen, "contrast_first": draw(0, 1) < 0.5}

    def apply(
        self,
        img: np.ndarray,
        *,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: int,
        contrast_first: bool,
        **_: Any,
    ) -> np.ndarray:
        """Apply the changes with look-up tables."""
        levels = np.arange(256)
        brighter = np.clip(levels + brightness, 0, 255)
        steeper = np.clip(levels * contrast, 0, 255)
        img = cv2.LUT(img, (np.clip(brighter * contrast, 0, 255) if contrast_first else brighter).astype(np.uint8))
        if saturation != 1 or hue:
            tables = np.stack([(levels + hue) % 180, np.clip(levels * saturation, 0, 255), levels], axis=-1)
            img = cv2.LUT(cv2.cvtColor(img, cv2.COLOR_RGB2HSV), tables.astype(np.uint8)[None])
            img = cv2.cvtColor(img, cv2.COLOR_HSV2RGB)
        return img if contrast_first else cv2.LUT(img, steeper.astype(np.uint8))


class TrainingTransform:
    """The complete augmentation of a sample: a function of the sample and a seed.

    Args:
        crop_size: (height, width) of the result.
        size_rule: the image size at scale 1.
        scale_range: smallest and largest random scale.
        max_class_share: largest share of a crop that one class may cover, if ten tries find such a crop.
        flip: probability of a horizontal flip.
        vertical_flip: probability of a vertical flip.
        quarter_turns: rotate by a random multiple of 90 degrees; needs a square crop.
        photometric: change brightness, contrast, saturation and hue; of 8-bit RGB images only.
        channels: number of channels of the images; None for 8-bit RGB.
        transforms: further albumentations transforms, applied to the crop and its mask after all others and before
            padding. They must keep the size of the crop. Pixels that a transform fills are ignored if it is created
            with ``fill_mask=255``; by default albumentations gives them to class 0.

    Raises:
        ValueError: if a number is out of range or a crop cannot be rotated; from a call, if a transform changes the
            size or type of the crop.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        size_rule: SizeRule = SizeRule(),
        *,
        scale_range: tuple[float, float] = (0.5, 2.0),
        max_class_share: float = 0.75,
        flip: float = 0.5,
        vertical_flip: float = 0.0,
        quarter_turns: bool = False,
        photometric: bool = True,
        channels: int | None = None,
        transforms: Transform | list[Transform] | None = None,
    ) -> None:
        if min(crop_size) < 1:
            raise ValueError(f"crop_size must be at least one pixel, got {crop_size}.")
        if not 0 < scale_range[0] <= scale_range[1] <= MAX_SCALE:
            raise ValueError(f"scale_range needs 0 < smallest <= largest <= {MAX_SCALE}, got {scale_range}.")
        if not 0 < max_class_share <= 1:
            raise ValueError(f"max_class_share must be above 0 and at most 1, got {max_class_share}.")
        for name, probability in (("flip", flip), ("vertical_flip", vertical_flip)):
            if not 0 <= probability <= 1:
                raise ValueError(f"{name} must be a probability, got {probability}.")
        if quarter_turns and crop_size[0] != crop_size[1]:
            raise ValueError(f"quarter_turns needs a square crop_size, got {crop_size}.")
        self.crop_size = crop_size
        self.size_rule = size_rule
        self.scale_range = scale_range
        self.flip = flip
        steps: list[Transform] = [
            ScaledCrop(crop_size, size_rule, scale_range=scale_range, max_class_share=max_class_share),
            A.HorizontalFlip(p=flip),
        ]
        if vertical_flip:
            steps.append(A.VerticalFlip(p=vertical_flip))
        if quarter_turns:
            steps.append(A.RandomRotate90(p=1))
        steps.append(PasteObjects())
        if photometric and channels is None:
            steps.append(PhotometricDistortion())
        steps += transforms if isinstance(transforms, list) else [transforms] if transforms else []
        padding = {"fill": PADDING_COLOR if channels is None else 0, "fill_mask": IGNORE_INDEX, "position": "top_left"}
        steps.append(A.PadIfNeeded(*crop_size, border_mode=cv2.BORDER_CONSTANT, **padding))
        self._pipeline = A.Compose(steps)

    def __call__(
        self,
        image: Pixels,
        mask: UInt8[np.ndarray, "h w"],
        *,
        seed: tuple[int, ...],
        center: Size | None = None,
        patches: Sequence[Patch] = (),
    ) -> tuple[Shaped[np.ndarray, "crop_h crop_w c"], UInt8[np.ndarray, "crop_h crop_w"]]:
        """Augment an image and its mask; the same seed gives the same result.

        Args:
            image: 8-bit RGB, or the given number of channels.
            mask: class indices or ``IGNORE_INDEX``.
            seed: seed of all random numbers.
            center: pixel (row, column) that the crop contains, in its middle where the image allows it; then
                ``max_class_share`` has no effect. None draws the crop at random.
            patches: objects to paste into the crop, after the flips and before the photometric changes.
        """
        # One pair of generators for all steps: Compose.set_random_seed would start every step with the same numbers.
        generator = np.random.default_rng(seed)
        self._pipeline.set_random_state(generator, random.Random(int(generator.integers(1 << 62))))
        augmented = self._pipeline(image=image, mask=mask, center=center, patches=patches)
        for name, before in (("image", image), ("mask", mask)):
            array, shape = augmented[name], (*self.crop_size, *before.shape[2:])
            if array.shape != shape or array.dtype != before.dtype:
                raise ValueError(
                    f"The transforms must keep {before.dtype} arrays of the crop size {shape}, got {array.dtype} "
                    f"{array.shape}."
                )
        return augmented["image"], augmented["mask"]
