"""FCN head: the baseline without attention.

Long et al.: Fully Convolutional Networks for Semantic Segmentation. CVPR 2015, https://arxiv.org/abs/1411.4038.

Differences from the paper: no skip connections; the encoder is dilated instead. This is the form that later papers
compare with (FCN-D8 of OpenMMLab).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.heads.base import FeatureInfo, Head, HeadOutput, conv_classifier


class FCNHead(Head):
    """Convolutions on the last level, concatenated with their input, and a classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the convolutions.
        convs: number of 3x3 convolutions before the concatenation.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head ``stage3`` on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import FCNHead, FeatureInfo
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = FCNHead(features, num_classes=19, channels=32)
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
        convs: int = 2,
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features)
        if convs < 1:
            raise ValueError(f"FCNHead needs at least one convolution, got convs={convs}.")
        in_channels = features.channels[-1]
        widths = [in_channels] + [channels] * convs
        self.convs = nn.Sequential(
            *(Conv2dNormActivation(before, after, kernel_size=3) for before, after in pairwise(widths))
        )
        self.classifier = conv_classifier(in_channels + channels, channels, num_classes, dropout)
        self.add_stage3(features, stage3_channels, num_classes, dropout)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the output stride."""
        x = features[-1]
        logits = self.classifier(torch.cat([x, self.convs(x)], dim=1))
        return HeadOutput(logits, self.stage3_logits(features))
