"""ISA head: interlaced sparse self-attention.

Huang et al.: Interlaced Sparse Self-Attention for Semantic Segmentation. 2019, https://arxiv.org/abs/1907.12273.

Differences from the paper: the auxiliary head on stage 3 is optional.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import Conv2dNormActivation

from segattn.attention import InterlacedSparseAttention
from segattn.heads.base import FeatureInfo, Head, HeadOutput, conv_classifier


class ISAHead(Head):
    """3x3 convolution and attention, concatenated with the attention's input, 1x1 convolution, and a classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the convolutions.
        reduction: query and key have ``channels // reduction`` channels.
        window: height and width of the windows that separate long-range from short-range attention, in positions.
        dropout: probability of dropping a channel before the classifier.
        implementation: ``plain`` builds the attention maps of all groups at once, ``fused`` does not.
        stage3_channels: width of the auxiliary head ``stage3`` on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import FeatureInfo, ISAHead
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = ISAHead(features, num_classes=19, channels=32, window=(2, 3))
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
        channels: int = 512,
        reduction: int = 2,
        window: Sequence[int] = (8, 8),
        dropout: float = 0.1,
        implementation: Literal["fused", "plain"] = "fused",
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features)
        self.reduce = Conv2dNormActivation(features.channels[-1], channels, kernel_size=3)
        self.attention = InterlacedSparseAttention(
            channels, reduction=reduction, window=window, implementation=implementation
        )
        self.classifier = conv_classifier(2 * channels, channels, num_classes, dropout, kernel_size=1)
        self.add_stage3(features, stage3_channels, num_classes, dropout)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the output stride."""
        x = self.reduce(features[-1])
        logits = self.classifier(torch.cat([self.attention(x), x], dim=1))
        return HeadOutput(logits, self.stage3_logits(features))
