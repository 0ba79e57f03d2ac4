"""Encoders: images in 0..1 -> normalized -> features of every level.

For the names of segmentation-models-pytorch (``resnet50``, ``mit_b2``, ``tu-convnext_tiny``) see
https://smp.readthedocs.io; ``vit-NAME`` is a plain vision transformer of timm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, Literal

import segmentation_models_pytorch as smp
import timm
import torch
from jaxtyping import Float
from segmentation_models_pytorch.encoders._utils import patch_first_conv
from torch import Tensor, nn

from segattn.heads.base import FeatureInfo
from segattn.io.error_text import first_line
from segattn.models.plain_vit import PlainViT
from segattn.models.simple_pyramid import pyramid_info
from segattn.models.weight_files import CheckpointError, load_weights, read_checkpoint, weights_of

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncoderSpec:
    """Describes an encoder.

    Attributes:
        name: ``resnet50`` or another name of segmentation-models-pytorch, or of timm: ``tu-NAME``, or ``vit-NAME`` for
            a plain ViT.
        weights: ``imagenet`` (downloaded), null (random), or a file, safetensors or a state dict.
        output_stride: 32, or 16 or 8 if the encoder can be dilated or is a plain ViT.
        mean: mean of the R, G, B channels of images in 0..1, or of the channels of the data set; null is what the
            weights were trained with.
        std: standard deviation of the channels; null is what the weights were trained with.
        dilations: dilations of the 3x3 convolutions in the blocks of a ResNet stage, repeated if there are more blocks,
            by name of the stage, e.g. ``{layer4: [4, 8, 16]}``; null uses those that follow from the output stride.
            Needed for weights that were trained with other dilations, which a file of weights does not record.
        freeze: train only attention and head; the encoder gets no gradients and stays in evaluation mode.

    Raises:
        ValueError: if a std is not positive.

    Examples:
        >>> from segattn.models import EncoderSpec
        >>> encoder = EncoderSpec("tu-convnext_tiny", weights="imagenet", output_stride=32, freeze=True)
        >>> EncoderSpec("resnet50", std=(0.2, 0.0, 0.2))
        Traceback (most recent call last):
            ...
        ValueError: std must be positive, got (0.2, 0.0, 0.2).
    """

    name: str = "resnet50"
    weights: str | None = "imagenet"
    output_stride: Literal[8, 16, 32] = 8
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    dilations: dict[str, list[int]] | None = None
    freeze: bool = False

    def __post_init__(self) -> None:
        """Validate the arguments."""
        if self.std is not None and not min(self.std, default=0) > 0:
            raise ValueError(f"std must be positive, got {self.std}.")

    def resolved(self) -> "EncoderSpec":
        """The same encoder with explicit normalization and without weights, as stored in checkpoints."""
        mean, std = _normalization(self.name)
        return replace(self, weights=None, mean=self.mean or mean, std=self.std or std)


class Encoder(nn.Module):
    """An encoder that normalizes its input.

    Pretrained weights are those of RGB images. For other channels, those of the first convolution are repeated in the
    order red, green, blue, and scaled by 3 / channels.

    Args:
        spec: describes it.
        channels: number of channels of the images; None for 8-bit RGB.

    Attributes:
        info: channels and strides of the features that heads get; for a plain ViT after the pyramid of the model.

    Raises:
        ValueError: if the name is unknown, the encoder does not support the dilation, a weight file does not fit, or
            there is not one mean and std for each channel.
        OSError: if a weight file is missing or weights cannot be downloaded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: EncoderSpec, *, channels: int | None = None) -> None:
        super().__init__()
        self.spec = spec.resolved()
        channels = channels or 3
        if not len(self.spec.mean or ()) == len(self.spec.std or ()) == channels:
            raise ValueError(
                f"Images of {channels} channels need {channels} values in encoder.mean and in encoder.std, got "
                f"{spec.mean and list(spec.mean)} and {spec.std and list(spec.std)}."
            )
        self.body = _build(spec.name, spec.output_stride, downloaded=spec.weights == "imagenet")
        for stage, dilations in (spec.dilations or {}).items():
            dilate_stage(self.body, stage, dilations)
        if spec.weights not in (None, "imagenet"):
            load_encoder_weights(self.body, Path(spec.weights))
        if channels != 3:
            patch_first_conv(self.body, channels, pretrained=spec.weights is not None)
        self.requires_grad_(not spec.freeze)
        for name, values in (("mean", self.spec.mean), ("std", self.spec.std)):
            self.register_buffer(name, torch.tensor(values).reshape(channels, 1, 1), persistent=False)
        if isinstance(self.body, PlainViT):
            self.info = pyramid_info(channels, self.body.channels, self.body.stride, output_stride=spec.output_stride)
        else:
            first, *others = self.body.out_channels  # the first level is the image, but not in every encoder
            levels = (channels if first == 3 else first, *others)
            self.info = FeatureInfo(levels, _strides(self.body, spec))

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Features of every level, level 0 is the normalized image; h and w must be multiples of the stride.

        Those of a plain ViT all have one stride.
        """
        features: list[Tensor] = self.body((image - self.mean) / self.std)
        return features


def dilate_stage(encoder: nn.Module, stage: str, dilations: Sequence[int]) -> None:
    """Set the dilations of a stage of a ResNet-family encoder, in place; see :class:`EncoderSpec`."""
    blocks = getattr(getattr(encoder, "model", encoder), stage, None)
    if not isinstance(blocks, nn.Sequential):
        raise ValueError(
            f"This encoder has no stage {stage!r} with residual blocks; dilations are for ResNet-family encoders."
        )
    if not dilations or any(dilation < 1 for dilation in dilations):
        raise ValueError(f"Dilations must be positive integers, got {list(dilations)} for {stage}.")
    for block, dilation in zip(blocks, cycle(dilations)):
        for conv in block.modules():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                if conv.stride != (1, 1) and dilation > 1:
                    raise ValueError(f"{stage} has a stride at this output stride, so it cannot be dilated.")
                conv.dilation = conv.padding = (dilation, dilation)


def load_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Load a local file of encoder weights, safetensors or a state dict, into a library encoder.

    The prefix ``model.`` of timm encoders is optional in the file; weights of a classifier are ignored.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no weight file {path.absolute()}; weights are 'imagenet', null, or the path of a local file."
        )
    state = weights_of(read_checkpoint(path), path)
    own = encoder.state_dict()
    if isinstance(encoder, PlainViT):
        named = encoder.own_names(state)
    else:
        prefix = "model." if all(key.startswith("model.") for key in own) else ""
        named = {key if key in own else prefix + key: value for key, value in state.items()}
    try:
        load_weights(encoder, {key: value for key, value in named.items() if key in own})
    except ValueError as error:
        raise CheckpointError(f"{path} does not fit this encoder: {error}.") from error


def _build(name: str, output_stride: int, *, downloaded: bool) -> Any:
    kind, _, timm_name = name.partition("-")
    from_timm = kind in ("tu", "vit")
    known = timm.is_model(timm_name) if from_timm else name in smp.encoders.encoders
    if not known:
        names = [*smp.encoders.encoders, *(f"{kind if from_timm else 'tu'}-{model}" for model in timm.list_models())]
        raise ValueError(
            f"There is no encoder {name!r}; similar names: {', '.join(get_close_matches(name, names)) or 'none'}. "
            f"All names: https://smp.readthedocs.io/en/latest/encoders.html, or tu-NAME, and vit-NAME for plain "
            f"ViTs, for timm.list_models()."
        )
    if downloaded:
        _require_network(name)
    weights: Any = (True if kind == "tu" else "imagenet") if downloaded else None
    any_size = {"strict_img_size": False} if name.startswith("tu-swin") else {}  # else only that of the pretraining
    try:
        if kind == "vit":
            return PlainViT(timm_name, pretrained=downloaded)
        body = smp.encoders.get_encoder(name, weights=weights, output_stride=output_stride, **any_size)
        if kind == "tu" and getattr(timm.get_pretrained_cfg(timm_name), "fixed_input_size", False):
            _require_any_size(body)
        return body
    except OSError as error:
        raise OSError(_no_download(name, error)) from error
    except (ValueError, TypeError, KeyError, NotImplementedError, AssertionError, AttributeError) as error:
        dilated = output_stride < 32 and kind != "vit"
        what = f"be dilated to output stride {output_stride} (try 32)" if dilated else "be used"
        reason = first_line(error).rstrip(".")
        if "downsampling pattern" in reason:
            reason = f"its features have other strides than 2, 4, 8, 16 and 32; a plain ViT is vit-{timm_name}"
        raise ValueError(f"The encoder {name!r} cannot {what}: {reason}.") from error


def _require_any_size(body: nn.Module) -> None:
    """Check that an encoder takes images of another size than those of its pretraining."""
    try:
        with torch.no_grad():
            body.eval()(torch.zeros(1, 3, 96, 160))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError("it takes only images of the size of its pretraining") from error
    finally:
        body.train()


def _require_network(name: str) -> None:
    """Fail at once if the hub cannot be reached; its own retries take up to a minute."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return  # only the cache is used
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # the hub's client changed its exception classes between major versions
        raise OSError(_no_download(name, error)) from error


def _no_download(name: str, error: Exception) -> str:
    return (
        f"The ImageNet weights of {name!r} cannot be downloaded ({first_line(error)}): set the encoder's weights to "
        f"the path of a local file, or to null for random weights (HF_HUB_OFFLINE=1 uses the hub's cache)."
    )


def _normalization(name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation that an encoder was pretrained with."""
    if name.startswith(("tu-", "vit-")):
        config = timm.get_pretrained_cfg(name.partition("-")[2])
        return (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    settings = smp.encoders.encoders.get(name, {}).get("pretrained_settings", {}).get("imagenet", {})
    return tuple(settings.get("mean", IMAGENET_MEAN)), tuple(settings.get("std", IMAGENET_STD))


def _strides(body: Any, spec: EncoderSpec) -> tuple[int, ...]:
    """Strides of every level, as reported by the encoder, otherwise those of the library's convention."""
    levels = len(body.out_channels)
    if hasattr(body, "model"):
        known = list(body.model.feature_info.reduction())
        strides = ([1, 2, 4][: levels - len(known)] + known)[:levels]
    else:
        strides = [min(2**level, spec.output_stride) for level in range(levels)]
    if strides[-1] != spec.output_stride or any(after < before for before, after in pairwise(strides)):
        raise ValueError(
            f"The encoder {spec.name!r} has strides {strides}, not output stride {spec.output_stride}: "
            f"set output_stride to {strides[-1]} or use another encoder."
        )
    return tuple(strides)
