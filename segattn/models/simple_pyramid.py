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
        features: of the encoder: four levels of one stride.
        output_stride: of the last level; the levels have strides 4, 8, 16 and 32, but none is above it.

    Attributes:
        info: channels and strides of the levels, with an absent one at stride 2.
    """

    def __init__(self, features: FeatureInfo, output_stride: int) -> None:
        super().__init__()
        channels, own = features.channels[-1], features.strides[-1]
        strides = [min(stride, output_stride) for stride in (4, 8, 16, 32)]
        doublings = [round(log2(own / stride)) for stride in strides]
        self.levels = nn.ModuleList(_resampling(channels, count) for count in doublings)
        widths = [channels // 2 ** max(0, count) for count in doublings]
        self.info = FeatureInfo((features.channels[0], 0, *widths), (1, 2, *strides))

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
