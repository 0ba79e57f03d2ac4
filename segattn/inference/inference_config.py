"""How a model is applied to an image: the same options for validation, test, prediction and all other commands."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from segattn.sample import SizeRule

Pair = tuple[int, int]


@dataclass(frozen=True)
class InferenceConfig:
    """How logits are computed from an image. It is stored in every checkpoint.

    The logits always have the size of the image, even if the model sees it at another size.

    Attributes:
        size_rule: size of the image at scale 1.
        window: (height, width) of sliding windows; null computes the image in one pass.
        stride: (height, width) between windows; null is two thirds of the window.
        whole_image_weight: weight in 0..1 of the logits of the image computed in one pass, at the same size, when they
            are averaged with those of the windows. It helps where windows cut large objects.
        scales: factors of the size; the class probabilities at all scales are averaged.
        flip: whether to average the probabilities of the image and of its mirror image.
        precision: ``32``, or ``bf16`` for mixed precision.

    Raises:
        ValueError: if a value is out of range or has no effect.

    Examples:
        >>> from segattn.inference import InferenceConfig
        >>> config = InferenceConfig(window=(512, 512), scales=(0.75, 1.0), flip=True)
        >>> InferenceConfig(stride=(256, 256))
        Traceback (most recent call last):
            ...
        ValueError: stride (256, 256) has no effect without a window.
    """

    size_rule: SizeRule = SizeRule()
    window: Pair | None = None
    stride: Pair | None = None
    whole_image_weight: float = 0.0
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    precision: Literal["32", "bf16"] = "32"

    def __post_init__(self) -> None:
        """Validate the arguments."""
        if min(*(self.window or (1,)), *(self.stride or (1,))) < 1:
            raise ValueError(f"window and stride must be positive, got {self.window} and {self.stride}.")
        if self.window is None and self.stride is not None:
            raise ValueError(f"stride {self.stride} has no effect without a window.")
        if self.window and self.stride and (self.stride[0] > self.window[0] or self.stride[1] > self.window[1]):
            raise ValueError(f"stride {self.stride} is larger than window {self.window} and would leave gaps.")
        if not 0 <= self.whole_image_weight < 1:
            raise ValueError(f"whole_image_weight must be in 0..1 and less than 1, got {self.whole_image_weight}.")
        if self.whole_image_weight and self.window is None:
            raise ValueError("whole_image_weight has no effect without a window.")
        if not self.scales or not min(self.scales) > 0:
            raise ValueError(f"scales must be positive, got {list(self.scales)}.")
        if self.precision not in ("32", "bf16"):
            raise ValueError(f"precision must be 32 or bf16, got {self.precision!r}.")

    @property
    def window_stride(self) -> Pair | None:
        """(height, width) between windows; None without windows."""
        if self.window is None or self.stride is not None:
            return self.stride
        return max(1, self.window[0] * 2 // 3), max(1, self.window[1] * 2 // 3)

    @property
    def description(self) -> str:
        """One line for people, such as ``short side 512, scales 0.5, 1, flip, windows of 512x512``."""
        parts = [f"scale{'s' if len(self.scales) > 1 else ''} {', '.join(f'{scale:g}' for scale in self.scales)}"]
        if self.size_rule.short_side:
            longest = f", long side at most {self.size_rule.max_long_side}" if self.size_rule.max_long_side else ""
            parts.insert(0, f"short side {self.size_rule.short_side}{longest}")
        parts.append("flip" if self.flip else "no flip")
        if self.window:
            parts.append(f"windows of {self.window[0]}x{self.window[1]}")
        if self.whole_image_weight:
            parts.append(f"blended with the image in one pass (weight {self.whole_image_weight:g})")
        if self.precision != "32":
            parts.append(self.precision)
        return ", ".join(parts)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "InferenceConfig":
        """Build a config from plain data, such as ``dataclasses.asdict`` returns and checkpoints store."""
        if unknown := sorted(set(content) - {field.name for field in fields(cls)}):
            raise ValueError(f"unknown keys in an inference config: {', '.join(unknown)}.")
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        plain["size_rule"] = SizeRule(**plain.get("size_rule", {}))
        return cls(**plain)
