"""The baselines of the FLA paper: position attention, channel attention, both in parallel, and both in sequence.

Song et al.: Fully Attentional Network for Semantic Segmentation. AAAI 2022, https://arxiv.org/abs/2112.04108, section 1
and table 1.

Differences from the paper: unknown, because the code of its baselines was not released.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention import ChannelAttention, ChannelPositionAttention, DualAttention, PositionAttention
from segattn.heads.base import FeatureInfo, Head, HeadOutput, conv_classifier


class ChannelSpatialHead(Head):
    """3x3 convolution and attention, concatenated with the input of the head, and a classifier.

    The layout is that of :class:`segattn.heads.FLAHead` without its second convolution and upsampling. The variants
    differ only in the kind of attention.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        kind: ``position``, ``channel``, ``dual`` (the sum of both) or ``channel_position`` (channel attention, then
            position attention).
        channels: width of the attention and of the classifier.
        dropout: probability of dropping a channel before the classifier.
        softmax: softmax of the channel attention: ``released`` (of max - energy) or ``formula`` (of energy).
        implementation: ``plain`` builds the map of all pixel pairs, ``fused`` does not.
        stage3_channels: width of the auxiliary head on the second to last level; null for none.

    Raises:
        ValueError: if the kind is unknown, or an argument has no effect for it.

    Examples:
        >>> import torch
        >>> from segattn.heads import ChannelSpatialHead, FeatureInfo
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = ChannelSpatialHead(features, num_classes=19, kind="dual", channels=32)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 8, 12])
    """

    min_levels = 2

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        kind: Literal["position", "channel", "dual", "channel_position"],
        channels: int = 512,
        dropout: float = 0.1,
        softmax: Literal["released", "formula"] = "released",
        implementation: Literal["fused", "plain"] = "fused",
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features)
        if kind == "position" and softmax != "released":
            raise ValueError("softmax is an option of channel attention and has no effect for kind position.")
        if kind == "channel" and implementation != "fused":
            raise ValueError("implementation is an option of position attention and has no effect for kind channel.")
        in_channels = features.channels[-1]
        block: nn.Module
        match kind:
            case "position":
                block = PositionAttention(channels, implementation=implementation)
            case "channel":
                block = ChannelAttention(channels, softmax=softmax)
            case "dual":
                block = DualAttention(channels, softmax=softmax, implementation=implementation)
            case "channel_position":
                block = ChannelPositionAttention(channels, softmax=softmax, implementation=implementation)
            case _:
                raise ValueError(f"kind must be position, channel, dual or channel_position, got {kind!r}.")
        self.attention = nn.Sequential(Conv2dNormActivation(in_channels, channels, kernel_size=3), block)
        self.classifier = conv_classifier(in_channels + channels, channels, num_classes, dropout)
        self.add_stage3(features, stage3_channels, num_classes, dropout)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the output stride."""
        x = features[-1]
        logits = self.classifier(torch.cat([self.attention(x), x], dim=1))
        return HeadOutput(logits, self.stage3_logits(features))
