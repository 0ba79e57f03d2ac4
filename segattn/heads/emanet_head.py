"""EMANet head: expectation-maximization attention.

Li et al.: Expectation-Maximization Attention Networks for Semantic Segmentation. ICCV 2019,
https://arxiv.org/abs/1907.13426, figure 2.

Differences from the paper: as in OpenMMLab's code, the result is concatenated with the input of the head and passes
another 3x3 convolution, and there is an optional auxiliary head on stage 3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention import ExpectationMaximizationAttention
from segattn.heads.base import FeatureInfo, Head, HeadOutput, conv_classifier


class EMANetHead(Head):
    """3x3 convolution, attention, 3x3 convolution, concatenated with the input of the head, and a classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the second convolution and of the classifier.
        attention_channels: width of the attention.
        bases: number of bases of the attention.
        iterations: number of iterations of the estimation of the bases.
        momentum: weight of a batch in the moving average of the bases.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head ``stage3`` on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import EMANetHead, FeatureInfo
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = EMANetHead(features, num_classes=19, channels=32, attention_channels=32, bases=8)
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
        channels: int = 256,
        attention_channels: int = 512,
        bases: int = 64,
        iterations: int = 3,
        momentum: float = 0.1,
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features)
        in_channels = features.channels[-1]
        self.attention = nn.Sequential(
            Conv2dNormActivation(in_channels, attention_channels, kernel_size=3),
            ExpectationMaximizationAttention(attention_channels, bases=bases, iterations=iterations, momentum=momentum),
            Conv2dNormActivation(attention_channels, channels, kernel_size=3),
        )
        self.classifier = conv_classifier(in_channels + channels, channels, num_classes, dropout)
        self.add_stage3(features, stage3_channels, num_classes, dropout)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the output stride."""
        x = features[-1]
        logits = self.classifier(torch.cat([x, self.attention(x)], dim=1))
        return HeadOutput(logits, self.stage3_logits(features))
