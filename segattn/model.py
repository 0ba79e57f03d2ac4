"""The model: encoder -> attention -> head -> logits at the size of the image."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from segattn.blueprint import build, describe
from segattn.encoders import Encoder, EncoderSpec, FeatureInfo
from segattn.heads import Head, HeadOutput
from segattn.sample import SizeRule
from segattn.windows import blend_windows

HeadFactory = Callable[[FeatureInfo, int], Head]
AttentionFactory = Callable[[int], nn.Module]


class SegmentationModel(nn.Module):
    """An encoder, optionally an attention block on its last level, and a head.

    Images of any size are padded inside (on the right and at the bottom, by repeating the edge) and the logits are
    cropped back: nothing is shifted or resized.

    Args:
        num_classes: number of classes.
        encoder: which encoder, with which weights and output stride.
        head: made from the encoder's features and the number of classes.
        attention: block on the last level of the encoder, made from its number of channels; None for none.
    """

    def __init__(
        self,
        num_classes: int,
        encoder: EncoderSpec,
        head: HeadFactory,
        *,
        attention: AttentionFactory | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = Encoder(encoder)
        self.attention = attention(self.encoder.info.channels[-1]) if attention else nn.Identity()
        self.head = head(self.encoder.info, num_classes)
        self._blueprint = {
            "num_classes": num_classes,
            "encoder": asdict(self.encoder.spec),
            "head": describe(head),
            "attention": describe(attention) if attention else None,
        }

    @property
    def blueprint(self) -> dict[str, Any]:
        """The model as plain data, without weights, for checkpoints."""
        return self._blueprint

    @classmethod
    def from_blueprint(cls, blueprint: Mapping[str, Any]) -> "SegmentationModel":
        """Build the model that a blueprint describes, with random weights."""
        encoder = dict(blueprint["encoder"])
        encoder |= {key: tuple(encoder[key]) for key in ("mean", "std")}
        attention = blueprint["attention"]
        return cls(
            blueprint["num_classes"],
            EncoderSpec(**encoder),
            build(blueprint["head"]),  # type: ignore[arg-type]  # a description names the class, not its signature
            attention=build(attention) if attention else None,
        )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> HeadOutput:
        """Logits (b, classes, h, w) of images in 0..1; auxiliary logits likewise, in training only."""
        height, width = image.shape[-2:]
        stride = self.encoder.info.strides[-1]
        padded = pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")
        features = self.encoder(padded)
        features[-1] = self.attention(features[-1])
        output = self.head(features)

        def restore(logits: Tensor) -> Tensor:
            full = interpolate(logits, size=padded.shape[-2:], mode="bilinear", align_corners=False)
            return full[..., :height, :width]

        return HeadOutput(restore(output.logits), {name: restore(logits) for name, logits in output.auxiliary.items()})

    def predict_logits(
        self, image: Float[Tensor, "b 3 h w"], *, rule: SizeRule, size: tuple[int, int]
    ) -> Float[Tensor, "b classes size_h size_w"]:
        """Logits at a chosen size, of the whole image or of sliding windows.

        Args:
            image: in 0..1, already resized by ``rule.resized``.
            rule: its window and stride are followed; overlapping windows are blended.
            size: height and width of the result, that of the annotation or of the image file.
        """
        if rule.window is None or rule.stride is None:
            logits: Tensor = self(image).logits
        else:
            height, width = image.shape[-2:]
            logits = image.new_empty(image.shape[0], self.num_classes, height, width)
            windows = blend_windows(lambda area: self(area.of(image)).logits, (height, width), rule.window, rule.stride)
            for area, blended in windows:
                area.of(logits).copy_(blended)
        if logits.shape[-2:] != size:
            logits = interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits


def predicted_classes(logits: Float[Tensor, "b classes h w"]) -> Tensor:
    """Class index of the largest logit of every pixel, (b, h, w) int64."""
    return logits.max(dim=1).indices  # five times as fast as argmax on a CPU
