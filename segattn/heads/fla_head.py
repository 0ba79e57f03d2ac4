"""FLA head: the fully attentional block, with channel attention inside each row and each column.

Song et al.: Fully Attentional Network for Semantic Segmentation. AAAI 2022, https://arxiv.org/abs/2112.04108, figure 3.

Differences from the paper: none known. The released code pairs the encoding of one image of a batch with the features
of another; :class:`segattn.attention.FullyAttentional` does not.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import Conv2dNormActivation

from segattn.attention import FullyAttentional
from segattn.attention.arguments import require_choice
from segattn.heads.base import FeatureInfo, Head, HeadOutput, conv_classifier
from segattn.heads.fine_skip import FineSkip


class FLAHead(Head):
    """Two 3x3 convolutions and the fully attentional block, concatenated with the input of the head, and a classifier.

    Auxiliary outputs: ``stage3`` and ``stage2``, small classifiers on the two levels before the last.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the block and of the classifier.
        dropout: probability of dropping a channel before each classifier.
        auxiliary_channels: width of the two auxiliary classifiers; null for none.
        upsample: factor by which to upsample the features before the 3x3 convolution of the classifier; 2 in the paper.
            1 makes the classifier four times as cheap.
        upsample_mode: ``bilinear``, or ``nearest`` as in the released code.
        upsample_auxiliary: whether to upsample the features of the auxiliary classifiers too, as in the released code.
        skip_channels: width of a skip from the finest level of stride 4 and above, as in DeepLabV3+ (48 there);
            it replaces ``upsample`` for the logits; null for none, as in the paper.
        implementation: ``plain`` builds the channel maps of all rows and columns, ``fused`` does not.

    Raises:
        ValueError: if ``upsample`` is below 1.

    Examples:
        >>> import torch
        >>> from segattn.heads import FLAHead, FeatureInfo
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = FLAHead(features, num_classes=19, channels=32)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 16, 24])
        >>> sorted(output.auxiliary)
        ['stage2', 'stage3']
    """

    min_levels = 3

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        channels: int = 512,
        dropout: float = 0.1,
        auxiliary_channels: int | None = 64,
        upsample: int = 2,
        upsample_mode: Literal["bilinear", "nearest"] = "bilinear",
        upsample_auxiliary: bool = False,
        skip_channels: int | None = None,
        implementation: Literal["fused", "plain"] = "fused",
    ) -> None:
        super().__init__(features)
        if upsample < 1:
            raise ValueError(f"upsample must be at least 1 (no upsampling), got {upsample}.")
        require_choice(("bilinear", "nearest"), upsample_mode=upsample_mode)
        in_channels = features.channels[-1]
        self.upsample = upsample
        self.upsample_mode = upsample_mode
        self.upsample_auxiliary = upsample_auxiliary
        self.reduce = nn.Sequential(
            Conv2dNormActivation(in_channels, channels, kernel_size=3),
            Conv2dNormActivation(channels, channels, kernel_size=3),
        )
        self.attention = FullyAttentional(channels, implementation=implementation)
        self.skip: FineSkip | None = None
        if skip_channels is None:
            self.classifier = conv_classifier(in_channels + channels, channels, num_classes, dropout)
        else:
            width = in_channels + channels
            self.skip = FineSkip(features, in_channels=width, channels=channels, skip_channels=skip_channels)
            self.classifier = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, kernel_size=1))
        self.auxiliary = nn.ModuleDict()
        if auxiliary_channels is not None:
            for name, level in (("stage3", -2), ("stage2", -3)):
                width = features.channels[level]
                self.auxiliary[name] = conv_classifier(width, auxiliary_channels, num_classes, dropout)
        self.auxiliary_names = tuple(self.auxiliary)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at ``upsample`` times the resolution of the last level, or at that of the skip connection."""
        x = features[-1]
        attended = torch.cat([self.attention(self.reduce(x)), x], dim=1)
        logits = self.classifier(self.skip(attended, features) if self.skip else self._upsampled(attended))
        if not self.training:
            return HeadOutput(logits, {})
        levels = {"stage3": features[-2], "stage2": features[-3]}
        if self.upsample_auxiliary:
            levels = {name: self._upsampled(level) for name, level in levels.items()}
        return HeadOutput(logits, {name: head(levels[name]) for name, head in self.auxiliary.items()})

    def _upsampled(self, x: Tensor) -> Tensor:
        if self.upsample == 1:
            return x
        align_corners = False if self.upsample_mode == "bilinear" else None
        factor = float(self.upsample)
        return interpolate(x, scale_factor=factor, mode=self.upsample_mode, align_corners=align_corners)
