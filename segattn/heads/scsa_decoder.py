"""SCSA decoder: a feature pyramid with spatial and channel synergistic attention on each level.

Si et al.: SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention. Neurocomputing 2025,
https://arxiv.org/abs/2407.05128.
Lin et al.: Feature Pyramid Networks for Object Detection. CVPR 2017, https://arxiv.org/abs/1612.03144.
Xiao et al.: Unified Perceptual Parsing for Scene Understanding (UPerNet, pyramid pooling). ECCV 2018,
https://arxiv.org/abs/1807.10221.

Differences from the papers: the SCSA paper puts the block inside the residual blocks of the encoder. Its place in the
decoder is the design of this project: one block on each merged level, before the 3x3 convolution of that level.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from segmentation_models_pytorch.decoders.upernet.decoder import PSPModule
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import Conv2dNormActivation

from segattn.attention import SCSA
from segattn.attention.identity_start import attention_block
from segattn.heads.base import FeatureInfo, Head, HeadOutput


class SCSADecoder(Head):
    """Feature pyramid over all encoder levels of stride 4 and above, with an attention block on each.

    Args:
        features: of the encoder.
        num_classes: number of output channels.
        form: ``fpn``, or ``upernet`` with a pyramid pooling module on the last level.
        channels: width of the pyramid; a multiple of 4 for SCSA.
        attention: makes the block of each level from its number of channels.
        identity_start: whether the blocks return their input at the first step.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head on the second to last level; null for none.
    """

    min_levels = 3

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        form: Literal["fpn", "upernet"] = "fpn",
        channels: int = 256,
        attention: Callable[[int], nn.Module] = SCSA,
        identity_start: bool = False,
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features)
        if form not in ("fpn", "upernet"):
            raise ValueError(f"form must be fpn or upernet, got {form!r}.")
        self.levels = features.pyramid_levels
        widths = [features.channels[level] for level in self.levels]
        self.lateral = nn.ModuleList(Conv2dNormActivation(width, channels, kernel_size=1) for width in widths[:-1])
        self.top = (
            PSPModule(widths[-1], channels)
            if form == "upernet"
            else Conv2dNormActivation(widths[-1], channels, kernel_size=1)
        )
        self.refine = nn.ModuleList(
            nn.Sequential(
                attention_block(attention, channels, identity_start=identity_start),
                Conv2dNormActivation(channels, channels, kernel_size=3),
            )
            for _ in widths
        )
        self.fuse = Conv2dNormActivation(channels * len(widths), channels, kernel_size=3)
        self.classifier = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, kernel_size=1))
        self.add_stage3(features, stage3_channels, num_classes, dropout)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at stride 4."""
        used = [features[level] for level in self.levels]
        merged = [self.top(used[-1])]
        for lateral, feature in zip(reversed(self.lateral), reversed(used[:-1]), strict=True):
            merged.append(lateral(feature) + _resize(merged[-1], feature))
        refined = [block(x) for block, x in zip(self.refine, reversed(merged), strict=True)]
        logits = self.classifier(self.fuse(torch.cat([_resize(x, refined[0]) for x in refined], dim=1)))
        return HeadOutput(logits, self.stage3_logits(features))


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
