"""What is written for every image, and how the model is used: everything that decides a result. No torch."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from segattn.inference.inference_config import InferenceConfig

Pair = tuple[int, int]


@dataclass(frozen=True)
class Options:
    """The choices of a prediction. A result is valid for one checkpoint and one set of options.

    Attributes:
        ids: the values in the masks: ``dataset`` for the data set's own label ids, ``train`` for class indices from 0.
        palette: store the class colors as the masks' palette; the values stay the same.
        overlay: also write the image under the class colors, into ``overlays``.
        panels: also write image, overlay and class colors side by side, into ``panels``.
        opacity: of the colors in overlays and panels, 0..1; None takes 0.5.
        confidence: also write the largest class probability of every pixel as 8-bit grey, into ``confidence``.
        probabilities: also write class probabilities, into ``probabilities``: ``all`` classes, or the likeliest k.
        window: (height, width) of sliding windows; None takes the checkpoint's size rule.
        stride: (height, width) between windows; None takes the checkpoint's, or two thirds of ``window``.
        whole: compute whole images even where the checkpoint's size rule has windows.
        short_side: resize images to this short side before the model; None takes the checkpoint's size rule.
        original_size: compute at the images' own sizes even where the checkpoint's size rule resizes.
        scales: factors of the size; the probabilities at all of them are averaged.
        flip: average with the probabilities of the mirrored image.
        precision: ``32``, or ``bf16`` for mixed precision.

    Raises:
        ValueError: if a value is out of its range, or has no effect beside the others.
    """

    ids: Literal["dataset", "train"] = "dataset"
    palette: bool = False
    overlay: bool = False
    panels: bool = False
    opacity: float | None = None
    confidence: bool = False
    probabilities: Literal["all"] | int | None = None
    window: Pair | None = None
    stride: Pair | None = None
    whole: bool = False
    short_side: int | None = None
    original_size: bool = False
    scales: tuple[float, ...] | None = None
    flip: bool = False
    precision: Literal["32", "bf16"] = "32"

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        if self.ids not in ("dataset", "train"):
            raise ValueError(f"ids must be dataset or train, got {self.ids!r}.")
        if self.precision not in ("32", "bf16"):
            raise ValueError(f"precision must be 32 or bf16, got {self.precision!r}.")
        if self.opacity is not None and not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity lies between 0 and 1, got {self.opacity}.")
        if self.opacity is not None and not (self.overlay or self.panels):
            raise ValueError("opacity has no effect without overlay or panels.")
        if isinstance(self.probabilities, int) and self.probabilities < 1:
            raise ValueError(f"probabilities must be all or at least 1, got {self.probabilities}.")
        if isinstance(self.probabilities, str) and self.probabilities != "all":
            raise ValueError(f"probabilities must be all or a number of classes, got {self.probabilities!r}.")
        if self.whole and (self.window or self.stride):
            raise ValueError("whole computes no windows: leave out window and stride.")
        if self.original_size and self.short_side is not None:
            raise ValueError("original_size resizes nothing: leave out short_side.")
        if self.scales is not None and (not self.scales or min(self.scales) <= 0):
            raise ValueError(f"scales must be positive factors, got {self.scales}.")

    @property
    def needs_image(self) -> bool:
        """Whether the image itself is part of what is written."""
        return self.overlay or self.panels

    def applied_to(self, config: "InferenceConfig") -> "InferenceConfig":
        """The checkpoint's inference config with these options in place.

        Raises:
            ValueError: if a stride is given without any window, or they do not fit together.
        """
        rule = config.size_rule
        if self.original_size:
            rule = replace(rule, short_side=None, max_long_side=None)
        if self.short_side is not None:
            rule = replace(rule, short_side=self.short_side)
        config = replace(config, size_rule=rule, precision=self.precision)
        config = replace(config, scales=self.scales or config.scales, flip=self.flip or config.flip)
        if self.whole:
            return replace(config, window=None, stride=None, whole_image_weight=0.0)
        if self.window:
            return replace(config, window=self.window, stride=self.stride)
        return replace(config, stride=self.stride) if self.stride else config


@dataclass(frozen=True)
class Settings:
    """How a run goes about it; none of this decides what is written.

    Attributes:
        devices: names of torch devices, of which one computes each image; None takes CUDA where there is one, ``all``
            every CUDA device.
        batch_size: images of one size that are computed together.
        compile: whether to compile the model, which pays for many images of one size.
        resume: keep what an earlier run with the same checkpoint and options finished.
        overwrite: allow replacing results of another checkpoint, and masks that no prediction wrote.
        max_pixels: refuse larger images; None takes 179 million, or 500 million with sliding windows.
        progress: whether to show a progress bar.

    Raises:
        ValueError: if a number is out of its range.
    """

    devices: str | list[str] | None = None
    batch_size: int = 1
    compile: bool = False
    resume: bool = False
    overwrite: bool = False
    max_pixels: int | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        for name, value in (("batch_size", self.batch_size), ("max_pixels", self.max_pixels)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
