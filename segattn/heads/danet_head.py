"""DANet head: position and channel attention in parallel.

Fu et al.: Dual Attention Network for Scene Segmentation. CVPR 2019, https://arxiv.org/abs/1809.02983, figure 2.

Differences from the paper: the optional auxiliary head on stage 3, from the recipe of OpenMMLab.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention import ChannelAttention, PositionAttention
from segattn.heads.base import FeatureInfo, Head, HeadOutput
from segattn.heads.fine_skip import FineSkip


class DANetHead(Head):
    """Two branches of 3x3 convolution, attention, 3x3 convolution; the prediction is made from their sum.

    Auxiliary outputs: ``position`` and ``channel``, one classifier per branch, and ``stage3``.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the branches; null uses a quarter of the last encoder level, as in the paper.
        dropout: probability of dropping a channel before each classifier.
        softmax: softmax of the channel attention: ``released`` (of max - energy) or ``formula`` (of energy).
        implementation: ``plain`` builds the map of all pixel pairs, ``fused`` does not.
        skip_channels: width of a skip from the finest level of stride 4 and above, as in DeepLabV3+ (48 there);
            the logits then have its resolution; null for none, as in the paper.
        stage3_channels: width of the auxiliary head on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import DANetHead, FeatureInfo
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = DANetHead(features, num_classes=19, channels=32)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 8, 12])
        >>> sorted(output.auxiliary)
        ['channel', 'position', 'stage3']
    """

    auxiliary_names = ("position", "channel")
    min_levels = 2

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        channels: int | None = None,
        dropout: float = 0.1,
        softmax: Literal["released", "formula"] = "released",
        implementation: Literal["fused", "plain"] = "fused",
        skip_channels: int | None = None,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features)
        in_channels = features.channels[-1]
        width = in_channels // 4 if channels is None else channels
        self.position = nn.Sequential(
            Conv2dNormActivation(in_channels, width, kernel_size=3),
            PositionAttention(width, implementation=implementation),
            Conv2dNormActivation(width, width, kernel_size=3),
        )
        self.channel = nn.Sequential(
            Conv2dNormActivation(in_channels, width, kernel_size=3),
            ChannelAttention(width, softmax=softmax),
            Conv2dNormActivation(width, width, kernel_size=3),
        )
        self.classifiers = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, num_classes, kernel_size=1))
                for name in ("fused", "position", "channel")
            }
        )
        self.skip: FineSkip | None = None
        if skip_channels is not None:
            self.skip = FineSkip(features, in_channels=width, channels=width, skip_channels=skip_channels)
        self.add_stage3(features, stage3_channels, num_classes, dropout)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the output stride, or at that of the skip connection."""
        position, channel = self.position(features[-1]), self.channel(features[-1])
        fused = position + channel
        logits = self.classifiers["fused"](self.skip(fused, features) if self.skip else fused)
        if not self.training:
            return HeadOutput(logits, {})
        auxiliary = {name: self.classifiers[name](x) for name, x in (("position", position), ("channel", channel))}
        return HeadOutput(logits, auxiliary | self.stage3_logits(features))
