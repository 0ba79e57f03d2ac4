"""What training does to images, as numbers; ``transforms.py`` does it. No torch, no albumentations."""

from dataclasses import dataclass

from segattn.sample import SizeRule

MAX_SCALE = 100
"""The largest factor that can be asked for: beyond it an image fits into no memory."""


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of training samples.

    Attributes:
        crop_size: (height, width) of the result.
        size_rule: the image's size at scale 1.
        scale_range: smallest and largest random scale.
        max_class_share: the largest share of a crop that one class may cover, if ten tries find one.
        flip: probability of a horizontal flip.
        photometric: whether brightness, contrast, saturation and hue are changed.

    Raises:
        ValueError: if a number is out of its range.
    """

    crop_size: tuple[int, int]
    size_rule: SizeRule = SizeRule()
    scale_range: tuple[float, float] = (0.5, 2.0)
    max_class_share: float = 0.75
    flip: float = 0.5
    photometric: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if min(self.crop_size) < 1:
            raise ValueError(f"crop_size must be at least one pixel, got {self.crop_size}.")
        if not 0 < self.scale_range[0] <= self.scale_range[1] <= MAX_SCALE:
            raise ValueError(f"scale_range needs 0 < smallest <= largest <= {MAX_SCALE}, got {self.scale_range}.")
        if not 0 < self.max_class_share <= 1:
            raise ValueError(f"max_class_share lies above 0 and at most at 1, got {self.max_class_share}.")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is a probability, got {self.flip}.")
