"""Skip connection from a fine encoder level.

Chen et al.: Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation (DeepLabV3+). ECCV 2018,
https://arxiv.org/abs/1802.02611, figure 2.

Differences from the paper: ordinary instead of separable convolutions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import Conv2dNormActivation

from segattn.heads.base import FeatureInfo


class FineSkip(nn.Module):
    """Concatenate upsampled features and the finest level of stride 4 and above, then two 3x3 convolutions.

    Args:
        features: channels and strides of the levels of the encoder.
        in_channels: number of channels of the features to upsample.
        channels: number of output channels.
        skip_channels: number of channels of the fine level after a 1x1 convolution; 48 in the paper.

    Raises:
        ValueError: if the encoder has no level finer than its last one.
    """

    def __init__(self, features: FeatureInfo, *, in_channels: int, channels: int, skip_channels: int) -> None:
        super().__init__()
        self.level = features.levels_from(4)[0]
        if features.strides[self.level] == features.strides[-1]:
            raise ValueError(
                f"skip_channels needs an encoder with a level finer than the last one, got strides {features.strides}."
            )
        self.reduce = Conv2dNormActivation(features.channels[self.level], skip_channels, kernel_size=1)
        self.fuse = nn.Sequential(
            Conv2dNormActivation(in_channels + skip_channels, channels, kernel_size=3),
            Conv2dNormActivation(channels, channels, kernel_size=3),
        )

    def forward(self, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """The features at the resolution of the fine level."""
        fine = self.reduce(features[self.level])
        upsampled = interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        fused: Tensor = self.fuse(torch.cat([upsampled, fine], dim=1))
        return fused
