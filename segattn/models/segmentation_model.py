"""The model: encoder -> attention -> head -> logits at the size of the image."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from segattn.heads import FeatureInfo, Head, HeadOutput
from segattn.models.encoders import Encoder, EncoderSpec
from segattn.models.factories import build, describe
from segattn.models.residual_attention import Position, insert_in_residual_blocks

HeadFactory = Callable[[FeatureInfo, int], Head]
AttentionFactory = Callable[[int], nn.Module]


class SegmentationModel(nn.Module):
    """An encoder, optionally an attention block on its last level, and a head.

    Images of any size are padded inside (on the right and at the bottom, by repeating the edge) and the logits are
    cropped back: nothing is shifted or resized. Models of other repositories were trained otherwise, hence the last two
    arguments.

    Args:
        num_classes: number of classes.
        encoder: which encoder, with which weights and output stride.
        head: made from the encoder's features and the number of classes.
        attention: block on levels of the encoder, made from its number of channels; None for none.
        attention_levels: the levels that it refines, one block each; -1 is the last one, 0 would be the image.
        residual_attention: block inside every residual block of a ResNet-family encoder; None for none.
        residual_position: where in the residual block, see :mod:`segattn.models.residual_attention`.
        align_corners: whether resizing logits to the image's size maps corner pixels to corner pixels.
        pad_to_stride: whether images are padded to whole multiples of the output stride; otherwise the logits of an
            image of another size are stretched to it.

    Raises:
        ValueError: if the encoder has no such level or no residual blocks.
    """

    def __init__(
        self,
        num_classes: int,
        encoder: EncoderSpec,
        head: HeadFactory,
        *,
        attention: AttentionFactory | None = None,
        attention_levels: Sequence[int] = (-1,),
        residual_attention: AttentionFactory | None = None,
        residual_position: Position = "last",
        align_corners: bool = False,
        pad_to_stride: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.align_corners = align_corners
        self.pad_to_stride = pad_to_stride
        self.encoder = Encoder(encoder)
        self.residual_attention: tuple[nn.Module, ...] = ()
        if residual_attention:
            blocks = insert_in_residual_blocks(self.encoder.body, residual_attention, residual_position)
            self.residual_attention = tuple(blocks)
        self.attention = nn.ModuleDict()
        if attention and not attention_levels:
            raise ValueError("attention_levels is empty, so that attention would have no effect: name a level.")
        if attention:
            channels = self.encoder.info.channels
            self.attention.update({str(_level(channels, n)): attention(channels[n]) for n in attention_levels})
        self.head = head(self.encoder.info, num_classes)
        self._blueprint = {
            "num_classes": num_classes,
            "encoder": asdict(self.encoder.spec),
            "head": describe(head),
            "attention": describe(attention) if attention else None,
            "attention_levels": list(attention_levels),
            "residual_attention": describe(residual_attention) if residual_attention else None,
            "residual_position": residual_position,
            "align_corners": align_corners,
            "pad_to_stride": pad_to_stride,
        }

    @property
    def idle_attention(self) -> list[int]:
        """Levels whose attention changes no logits, because the head does not read them."""
        if not self.attention:
            return []
        head, info = deepcopy(self.head).eval(), self.encoder.info
        sides = [4 * info.strides[-1] // stride for stride in info.strides]
        features = [
            self.encoder.mean.new_zeros(1, channels, side, side, requires_grad=True)
            for channels, side in zip(info.channels, sides, strict=True)
        ]
        logits = head([feature.clone() for feature in features]).logits  # a head may write into what it is given
        gradients = torch.autograd.grad(logits.sum(), features, allow_unused=True)
        return [int(level) for level in self.attention if gradients[int(level)] is None]

    @property
    def blueprint(self) -> dict[str, Any]:
        """The model as plain data, without weights, for checkpoints."""
        return self._blueprint

    @classmethod
    def from_blueprint(cls, blueprint: Mapping[str, Any]) -> "SegmentationModel":
        """Build the model that a blueprint describes, with random weights."""
        encoder = dict(blueprint["encoder"])
        encoder |= {key: tuple(encoder[key]) for key in ("mean", "std")}
        own = ("num_classes", "encoder")
        options: dict[str, Any] = {
            name: build(value) if isinstance(value, Mapping) else value
            for name, value in blueprint.items()
            if name not in own
        }
        return cls(blueprint["num_classes"], EncoderSpec(**encoder), **options)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> HeadOutput:
        """Logits (b, classes, h, w) of images in 0..1; auxiliary logits likewise, in training only."""
        height, width = image.shape[-2:]
        stride = self.encoder.info.strides[-1] if self.pad_to_stride else 1
        # Written as multiples of the stride, so that torch.export sees that every level divides them.
        padded_height, padded_width = ((side + stride - 1) // stride * stride for side in (height, width))
        padded = pad(image, (0, padded_width - width, 0, padded_height - height), mode="replicate")
        features = self.encoder(padded)
        for level, block in self.attention.items():
            features[int(level)] = block(features[int(level)])
        output = self.head(features)

        def restore(logits: Tensor) -> Tensor:
            full = interpolate(logits, size=padded.shape[-2:], mode="bilinear", align_corners=self.align_corners)
            return full[..., :height, :width]

        return HeadOutput(restore(output.logits), {name: restore(logits) for name, logits in output.auxiliary.items()})


def _level(channels: tuple[int, ...], level: int) -> int:
    """The level counted from the image, if it is one that attention can refine."""
    if not (-len(channels) < level < len(channels) and level % len(channels) and channels[level]):
        usable = [number for number in range(1, len(channels)) if channels[number]]
        raise ValueError(f"attention_levels must be among {usable} or counted from the end, got {level}.")
    return level % len(channels)
