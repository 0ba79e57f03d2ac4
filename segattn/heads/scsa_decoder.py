"""SCSA decoder: a feature pyramid with spatial and channel synergistic attention on each level.

Si et al.: SCSA: Exploring the Synergistic Effects Between Spatial and Channel Attention. Neurocomputing 2025,
https://arxiv.org/abs/2407.05128.
Lin et al.: Feature Pyramid Networks for Object Detection. CVPR 2017, https://arxiv.org/abs/1612.03144.
Xiao et al.: Unified Perceptual Parsing for Scene Understanding (UPerNet, pyramid pooling). ECCV 2018,
https://arxiv.org/abs/1807.10221.

Differences from the papers: the SCSA paper puts the block inside the residual blocks of the encoder. Its place in the
decoder is the design of this project: one block on each merged level, before the 3x3 convolution of that level.
"""

from typing import Literal

from segattn.attention import SCSA
from segattn.attention.block import BlockFactory
from segattn.heads.attention_pyramid import AttentionPyramid
from segattn.heads.base import FeatureInfo


class SCSADecoder(AttentionPyramid):
    """Feature pyramid over all encoder levels of stride 4 and above, with an attention block on each.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        topology: how the levels are fused, see ``AttentionPyramid``.
        channels: width of the pyramid; a multiple of 4 for SCSA.
        attention: makes the block of each level from its number of channels.
        identity_start: whether the blocks return their input at the first step.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import FeatureInfo, SCSADecoder
        >>> features = FeatureInfo(channels=(3, 8, 16, 24, 32, 64), strides=(1, 2, 4, 8, 16, 32))
        >>> head = SCSADecoder(features, num_classes=19, channels=32)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 16, 24])
    """

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        topology: Literal["fpn", "upernet", "concatenated"] = "concatenated",
        channels: int = 256,
        attention: BlockFactory = SCSA,
        identity_start: bool = False,
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(
            features,
            num_classes,
            topology=topology,
            channels=channels,
            refinement=attention,
            identity_start=identity_start,
            dropout=dropout,
            stage3_channels=stage3_channels,
        )
