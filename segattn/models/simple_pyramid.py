"""Feature maps of several strides from a plain vision transformer.

Li et al.: Exploring Plain Vision Transformer Backbones for Object Detection (ViTDet). ECCV 2022,
https://arxiv.org/abs/2203.16527, section 3 (simple feature pyramid).

Differences from the paper: each level comes from another block instead of all from the last one, as in the
segmentation models of BEiT (ICLR 2022). A layer norm on the features of each block replaces the 1x1 and 3x3
convolutions at the end of each level, because heads have their own. The coarse levels can be left at a finer stride.
"""

from collections.abc import Collection, Sequence
from math import log2

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from segattn.heads.base import FeatureInfo


class SimplePyramid(nn.Module):
    """Transposed convolutions for levels finer than the features, max pooling for coarser ones.

    Args:
        channels: number of channels of the features.
        stride: stride of the features, a power of two.
        info: channels and strides of the levels, from :func:`pyramid_info`.
    """

    def __init__(self, channels: int, stride: int, info: FeatureInfo) -> None:
        super().__init__()
        self.stride = stride
        self.levels = nn.ModuleList(_resampling(channels, _doublings(stride, own)) for own in info.strides[2:])

    def keep_only(self, levels: Collection[int]) -> None:
        """Leave the features of all other levels as they are, so that no parameter is without a gradient."""
        for index in range(len(self.levels)):
            if index + 2 not in levels:
                self.levels[index] = nn.Identity()

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The image, an empty level of stride 2, and the levels of the pyramid."""
        image, *maps = features
        batch, _, height, width = image.shape
        levels = [level(each) for level, each in zip(self.levels, maps, strict=True)]
        return [image, image.new_empty(batch, 0, height // 2, width // 2), *levels]


def pyramid_info(image_channels: int, channels: int, stride: int, *, output_stride: int) -> FeatureInfo:
    """The levels of a pyramid of features: strides 4, 8, 16 and 32, but none above ``output_stride``; none at 2."""
    strides = [min(each, output_stride) for each in (4, 8, 16, 32)]
    widths = [channels // 2 ** max(0, _doublings(stride, each)) for each in strides]
    return FeatureInfo((image_channels, 0, *widths), (1, 2, *strides))


def _doublings(stride: int, wanted: int) -> int:
    return round(log2(stride / wanted))


def _resampling(channels: int, doublings: int) -> nn.Sequential:
    """Doubles the resolution and halves the channels some times; halves the resolution if ``doublings`` is negative."""
    layers: list[nn.Module] = [LayerNorm2d(channels)]
    if doublings < 0:
        layers.append(nn.MaxPool2d(2**-doublings))
    for step in range(doublings):
        if step:
            layers += [LayerNorm2d(channels), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2))
        channels //= 2
    return nn.Sequential(*layers)
