"""PSP head: pyramid pooling, a baseline without attention.

Zhao et al.: Pyramid Scene Parsing Network. CVPR 2017, https://arxiv.org/abs/1612.01105, section 3.2.

Differences from the paper: the width of the pooled features and the auxiliary head on stage 3 are those of OpenMMLab's
recipes. They pool averages, as the paper's experiments recommend.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import Conv2dNormActivation

from segattn.heads.base import FeatureInfo, Head, HeadOutput, conv_classifier


class PSPHead(Head):
    """Means over grids of cells, resized and concatenated with the input of the head, and a classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the pooled features and of the classifier.
        bins: sides of the grids.
        align_corners: whether the pooled features are resized with aligned corners.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head ``stage3`` on the second to last level; null for none.

    Raises:
        ValueError: if there are no bins, or one is below 1.

    Examples:
        >>> import torch
        >>> from segattn.heads import FeatureInfo, PSPHead
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = PSPHead(features, num_classes=19, channels=32)
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
        bins: Sequence[int] = (1, 2, 3, 6),
        align_corners: bool = False,
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features)
        if not bins or min(bins) < 1:
            raise ValueError(f"bins must be at least one positive number, got {tuple(bins)}.")
        in_channels = features.channels[-1]
        self.align_corners = align_corners
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), Conv2dNormActivation(in_channels, channels, kernel_size=1))
            for side in bins
        )
        self.classifier = conv_classifier(in_channels + len(bins) * channels, channels, num_classes, dropout)
        self.add_stage3(features, stage3_channels, num_classes, dropout)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the output stride."""
        x = features[-1]
        pooled = [
            interpolate(pool(x), x.shape[2:], mode="bilinear", align_corners=self.align_corners) for pool in self.pools
        ]
        logits = self.classifier(torch.cat([x, *pooled], dim=1))
        return HeadOutput(logits, self.stage3_logits(features))
