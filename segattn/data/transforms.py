"""Augmentation for training.

The training recipe is OpenMMLab's: a random scale, a random crop in which no class covers more than a given share, a
horizontal flip, a photometric distortion, and padding, in this order, so that the costly steps see only the crop.
"""

import os
import random
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no network look-up on import

import albumentations as A
import cv2
import numpy as np
from jaxtyping import UInt8

from segattn.data.augmentation import Augmentation
from segattn.io.image_files import resize_image
from segattn.sample import IGNORE_INDEX, SizeRule

PADDING_COLOR = (124, 116, 104)
"""RGB of padded pixels: ImageNet's mean, so that padding is close to zero after normalisation."""

_CROP_TRIES = 10


class ScaledCrop(A.DualTransform):
    """A random window of the randomly resized image; smaller where the image is smaller.

    Args:
        crop_size: (height, width) of the window.
        size_rule: the size at scale 1.
        scale_range: smallest and largest factor, drawn uniformly.
        max_class_share: the largest share of a window's valid pixels that one class may cover; after ten windows the
            last one is taken as it is. 1 takes the first.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        size_rule: SizeRule,
        *,
        scale_range: tuple[float, float],
        max_class_share: float,
    ) -> None:
        super().__init__(p=1)
        self.crop_size = crop_size
        self.size_rule = size_rule
        self.scale_range = scale_range
        self.max_class_share = max_class_share

    @property
    def targets_as_params(self) -> list[str]:
        """The choice of the window looks at the mask."""
        return ["mask"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the size of the resized image and the window (top, left) in it."""
        scale = self.py_random.uniform(*self.scale_range)
        size = tuple(max(1, round(side * scale)) for side in self.size_rule.resized(*data["mask"].shape))
        mask = self._resize_mask(data["mask"], size)
        for _ in range(_CROP_TRIES):
            corner = tuple(
                self.py_random.randint(0, max(0, side - crop)) for side, crop in zip(size, self.crop_size, strict=True)
            )
            if self.max_class_share >= 1 or largest_class_share(self._window(mask, corner)) <= self.max_class_share:
                break
        return {"size": size, "corner": corner}

    def apply(self, img: np.ndarray, *, size: tuple[int, int], corner: tuple[int, int], **_: Any) -> np.ndarray:
        """Crop the resized image."""
        return self._window(resize_image(img, size), corner)

    def apply_to_mask(
        self, mask: np.ndarray, *, size: tuple[int, int], corner: tuple[int, int], **_: Any
    ) -> np.ndarray:
        """Crop the resized mask."""
        return self._window(self._resize_mask(mask, size), corner)

    def _resize_mask(self, mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)

    def _window(self, array: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        (top, left), (height, width) = corner, self.crop_size
        return array[top : top + height, left : left + width]


def largest_class_share(mask: UInt8[np.ndarray, "h w"]) -> float:
    """The share of the most frequent class among the valid pixels; 1 where no pixel is valid."""
    counts = np.bincount(mask.ravel(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
    total = int(counts.sum())
    return int(counts.max()) / total if total else 1.0


class PhotometricDistortion(A.ImageOnlyTransform):
    """Brightness, contrast, saturation and hue, each changed with probability one half.

    The contrast changes before or after the colors, at random. Strengths are those of OpenMMLab's
    ``PhotoMetricDistortion``: brightness +-32 of 255, contrast and saturation 0.5 to 1.5, hue +-18 of 180.
    """

    def __init__(self) -> None:
        super().__init__(p=1)

    def get_params(self) -> dict[str, Any]:
        """Draw what is changed, and by how much."""
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
        """Change the image by look-up tables."""
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
    """The whole augmentation of one sample, a function of the sample and the seed alone.

    Args:
        augmentation: what is done.
    """

    def __init__(self, augmentation: Augmentation) -> None:
        crop_size = augmentation.crop_size
        steps: list[A.BasicTransform] = [
            ScaledCrop(
                crop_size,
                augmentation.size_rule,
                scale_range=augmentation.scale_range,
                max_class_share=augmentation.max_class_share,
            ),
            A.HorizontalFlip(p=augmentation.flip),
        ]
        if augmentation.photometric:
            steps.append(PhotometricDistortion())
        padding = {"fill": PADDING_COLOR, "fill_mask": IGNORE_INDEX, "position": "top_left"}
        steps.append(A.PadIfNeeded(*crop_size, border_mode=cv2.BORDER_CONSTANT, **padding))
        self._pipeline = A.Compose(steps)

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"], *, seed: tuple[int, ...]
    ) -> tuple[UInt8[np.ndarray, "crop_h crop_w 3"], UInt8[np.ndarray, "crop_h crop_w"]]:
        """Augment one image and its mask; the same seed gives the same result."""
        # One pair of generators for all steps: Compose.set_random_seed would start every step with the same numbers.
        generator = np.random.default_rng(seed)
        self._pipeline.set_random_state(generator, random.Random(int(generator.integers(1 << 62))))
        augmented = self._pipeline(image=image, mask=mask)
        return augmented["image"], augmented["mask"]
