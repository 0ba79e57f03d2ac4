"""The model: encoder (-> pyramid of a plain ViT) -> attention -> head -> logits at the size of the image."""

from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from segattn.attention.identity_start import attention_block
from segattn.heads import HeadOutput
from segattn.models.encoders import Encoder
from segattn.models.model_spec import ModelSpec
from segattn.models.plain_vit import PlainViT
from segattn.models.residual_attention import insert_in_residual_blocks
from segattn.models.simple_pyramid import SimplePyramid


class SegmentationModel(nn.Module):
    """An encoder, attention blocks on its levels or inside its residual blocks, and a head.

    Attributes:
        spec: describes the model, without the weights that were loaded and with the normalization that goes with them.
        pyramid: makes levels of several strides of the features of a plain ViT; None for other encoders.

    Raises:
        ValueError: if the encoder has no such level or no residual blocks, or a plain ViT is not padded.

    Examples:
        >>> import torch
        >>> from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
        >>> model = SegmentationModel(ModelSpec(num_classes=19, encoder=EncoderSpec("tu-test_resnet", weights=None)))
        >>> model(torch.rand(2, 3, 65, 97)).logits.shape
        torch.Size([2, 19, 65, 97])
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.encoder = Encoder(spec.encoder, channels=spec.channels)
        self.spec = replace(spec, encoder=self.encoder.spec)
        self.pyramid: SimplePyramid | None = None
        if isinstance(self.encoder.body, PlainViT):
            if not spec.pad_to_stride:
                raise ValueError("A plain ViT needs pad_to_stride: true.")
            self.pyramid = SimplePyramid(self.encoder.body.channels, self.encoder.body.stride, self.encoder.info)
        with torch.random.fork_rng(devices=[]):  # so that a seed gives the head the same weights without these blocks
            self.residual_attention, self.attention = self._attention_blocks(spec)
        self.head = spec.head(self.encoder.info, spec.num_classes)
        if self.pyramid is not None:
            self.pyramid.keep_only(self._levels_read(training=True) | {int(level) for level in self.attention})
        if spec.channels_last:
            self.to(memory_format=torch.channels_last)
        self.train()

    def _attention_blocks(self, spec: ModelSpec) -> tuple[tuple[nn.Module, ...], nn.ModuleDict]:
        """Insert the blocks of the residual blocks into the encoder, and make those of its levels."""
        inserted: list[nn.Module] = []
        if spec.residual_attention:
            block = partial(attention_block, spec.residual_attention, identity_start=spec.identity_start)
            inserted = insert_in_residual_blocks(self.encoder.body, block, spec.residual_position)
        by_level = nn.ModuleDict()
        if spec.attention:
            channels = self.encoder.info.channels
            levels = [_level_index(channels, level) for level in spec.attention_levels]
            block = partial(attention_block, spec.attention, identity_start=spec.identity_start)
            by_level.update({str(level): block(channels[level]) for level in levels})
        return tuple(inserted), by_level

    def train(self, mode: bool = True) -> "SegmentationModel":
        """Set training or evaluation mode; a frozen encoder without its attention blocks stays in evaluation mode."""
        super().train(mode)
        if self.spec.encoder.freeze:
            self.encoder.eval()
            for block in self.residual_attention:
                block.train(mode)
        return self

    @property
    def idle_attention(self) -> list[int]:
        """Levels at which attention has no effect, because the head does not read them."""
        read = self._levels_read(training=False) if self.attention else set()
        return [int(level) for level in self.attention if int(level) not in read]

    @torch.inference_mode(False)
    @torch.enable_grad()
    def _levels_read(self, *, training: bool) -> set[int]:
        """The levels that the logits of the head depend on; in training also the auxiliary logits."""
        head = deepcopy(self.head).train(training)
        info = self.encoder.info
        sides = [4 * info.strides[-1] // stride for stride in info.strides]
        features = [
            self.encoder.mean.new_zeros(2, channels, side, side, requires_grad=True)
            for channels, side in zip(info.channels, sides, strict=True)
        ]
        output = head([feature.clone() for feature in features])  # heads may modify features in place
        total = torch.stack([logits.sum() for logits in (output.logits, *output.auxiliary.values())]).sum()
        gradients = torch.autograd.grad(total, features, allow_unused=True)
        return {level for level, gradient in enumerate(gradients) if gradient is not None}

    def forward(self, image: Float[Tensor, "b c h w"]) -> HeadOutput:
        """Logits (b, classes, h, w) of images in 0..1, and in training mode auxiliary logits of the same shape."""
        height, width = image.shape[-2:]
        stride = self.encoder.info.strides[-1] if self.spec.pad_to_stride else 1
        if self.pyramid is not None:
            stride = max(stride, self.pyramid.stride)
        # Written as multiples of the stride so that torch.export can prove that every level divides evenly.
        padded_height, padded_width = ((side + stride - 1) // stride * stride for side in (height, width))
        padded = pad(image, (0, padded_width - width, 0, padded_height - height), mode="replicate")
        if self.spec.channels_last:
            padded = padded.contiguous(memory_format=torch.channels_last)
        features = self.encoder(padded)
        if self.pyramid is not None:
            features = self.pyramid(features)
        for level, block in self.attention.items():
            features[int(level)] = block(features[int(level)])
        output = self.head(features)

        def restore(logits: Tensor) -> Tensor:
            full = interpolate(logits, size=padded.shape[-2:], mode="bilinear", align_corners=self.spec.align_corners)
            return full[..., :height, :width]

        return HeadOutput(restore(output.logits), {name: restore(logits) for name, logits in output.auxiliary.items()})


def _level_index(channels: tuple[int, ...], level: int) -> int:
    """The index of a level from the start; level 0 is the image and cannot have attention."""
    if not (-len(channels) < level < len(channels) and level % len(channels) and channels[level]):
        usable = [number for number in range(1, len(channels)) if channels[number]]
        raise ValueError(f"attention_levels must be among {usable} or counted from the end, got {level}.")
    return level % len(channels)
