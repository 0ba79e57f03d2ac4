"""The options of ``segattn predict`` and of :func:`segattn.predict.predict_folder`. No torch."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

if TYPE_CHECKING:
    from segattn.inference.inference_config import InferenceConfig


def read_probabilities(text: str) -> Literal["all"] | int:
    """``all``, or the number of the most likely classes."""
    if text == "all":
        return "all"
    if not text.isdecimal():
        raise ValueError(f"must be all or an integer, got {text!r}")
    return int(text)


@dataclass(frozen=True)
class Options:
    """What is written, and how the model is applied.

    Results are valid for one checkpoint and one set of these options. Those of the model (from ``window`` on) replace
    what the checkpoint specifies; None keeps it.

    Attributes:
        ids: values of the masks: label ids of the data set, or class indices from 0 (train).
        palette: store the class colors as the palette of the masks; the values stay the same.
        overlay: also write the image under the class colors.
        panels: also write image, overlay and class colors side by side.
        opacity: opacity of the class colors in overlays and panels, 0..1; default 0.5.
        confidence: also write the largest class probability of every pixel, times 255.
        probabilities: also write class probabilities, of all classes or of the K most likely ones.
        window: height and width of sliding windows.
        stride: height and width between windows; default two thirds of the window.
        whole_image_weight: weight of the image in one pass when it is averaged with its windows.
        whole: compute images in one pass even if the checkpoint specifies windows.
        short_side: resize images to this short side, in pixels.
        original_size: do not resize images even if the checkpoint does.
        scales: factors of the size; the class probabilities at all scales are averaged.
        flip: average the class probabilities with those of the mirrored image.
        precision: 32, or bf16 for mixed precision.

    Raises:
        ValueError: if a value is out of range or has no effect.

    Examples:
        >>> from segattn.predict import Options
        >>> options = Options(overlay=True, window=(512, 512), scales=(0.75, 1.0, 1.25), flip=True)
        >>> Options(opacity=0.3)
        Traceback (most recent call last):
            ...
        ValueError: opacity has no effect without overlay or panels.
    """

    ids: Literal["dataset", "train"] = "dataset"
    palette: bool = False
    overlay: bool = False
    panels: bool = False
    opacity: float | None = None
    confidence: bool = False
    probabilities: Annotated[Literal["all"] | int | None, read_probabilities, "all|K"] = None
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    whole_image_weight: float | None = None
    whole: bool = False
    short_side: int | None = None
    original_size: bool = False
    scales: tuple[float, ...] | None = None
    flip: bool | None = None
    precision: Literal["32", "bf16"] | None = None

    def __post_init__(self) -> None:
        """Validate the arguments."""
        if self.ids not in ("dataset", "train"):
            raise ValueError(f"ids must be dataset or train, got {self.ids!r}.")
        if self.opacity is not None and not 0 <= self.opacity <= 1:
            raise ValueError(f"opacity must be in 0..1, got {self.opacity}.")
        if self.opacity is not None and not self.draws_colors:
            raise ValueError("opacity has no effect without overlay or panels.")
        if isinstance(self.probabilities, int) and self.probabilities < 1:
            raise ValueError(f"probabilities must be all or at least 1, got {self.probabilities}.")
        if self.whole and self.window:
            raise ValueError("whole and window exclude each other.")
        if self.original_size and self.short_side is not None:
            raise ValueError("original_size and short_side exclude each other.")

    @property
    def draws_colors(self) -> bool:
        """Whether class colors are drawn over the image."""
        return self.overlay or self.panels

    def applied_to(self, config: "InferenceConfig") -> "InferenceConfig":
        """Replace values in the inference config of a checkpoint."""
        changes: dict[str, Any] = {}
        if self.whole:
            changes |= {"window": None, "stride": None, "whole_image_weight": 0.0}
        if self.window:
            changes |= {"window": self.window, "stride": None}
        if self.original_size:
            changes["size_rule"] = type(config.size_rule)()
        if self.short_side is not None:
            changes["size_rule"] = replace(config.size_rule, short_side=self.short_side)
        given = {name: getattr(self, name) for name in ("stride", "whole_image_weight", "scales", "flip", "precision")}
        return replace(config, **changes | {name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class Settings:
    """How the run proceeds.

    These settings do not change the results, except that the rounding of another device or batch size may differ.

    Attributes:
        device: torch device; default: CUDA if there is a GPU.
        devices: number of processes on each machine, each with one device, or part of the cores; images are divided
            among them.
        num_nodes: number of machines; every one of them runs the command.
        batch_size: consecutive images that are processed together; those of equal size are computed in one pass.
        compile: compile the model, which pays off for many images of one size.
        resume: keep what an earlier run with the same checkpoint and options finished.
        overwrite: allow replacing results of another checkpoint, and masks that were not predicted.
        max_pixels: refuse larger images; default 179 million pixels, or 500 million with windows.
        progress: do not show a progress bar.

    Raises:
        ValueError: if a number is out of range.

    Examples:
        >>> from segattn.predict import Settings
        >>> settings = Settings(batch_size=4, resume=True, progress=False)
        >>> Settings(batch_size=0)
        Traceback (most recent call last):
            ...
        ValueError: batch_size must be at least 1, got 0.
    """

    device: str | None = None
    devices: int = 1
    num_nodes: int = 1
    batch_size: int = 1
    compile: bool = False
    resume: bool = False
    overwrite: bool = False
    max_pixels: int | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        """Validate the arguments."""
        for name in ("devices", "num_nodes", "batch_size", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
