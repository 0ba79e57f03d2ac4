"""FCN heads with an attention block between their two convolutions, as in the authors' and OpenMMLab's code.

- ``CCHead``: Huang et al.: CCNet: Criss-Cross Attention for Semantic Segmentation. ICCV 2019,
  https://arxiv.org/abs/1811.11721, figure 2.
- ``GCHead``: Cao et al.: GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond. ICCV Workshops 2019,
  https://arxiv.org/abs/1904.11492.
- ``NLHead``: Wang et al.: Non-local Neural Networks. CVPR 2018, https://arxiv.org/abs/1711.07971.
- ``DNLHead``: Yin et al.: Disentangled Non-Local Neural Networks. ECCV 2020, https://arxiv.org/abs/2006.06668.

Differences from the papers: the width of the optional auxiliary head on stage 3 is that of OpenMMLab's recipes.
"""

from typing import Literal

from segattn.attention import CrissCrossAttention, DisentangledNonLocal, GlobalContext, NonLocal
from segattn.heads.base import FeatureInfo
from segattn.heads.fcn_head import FCNHead


class CCHead(FCNHead):
    """3x3 convolution, criss-cross attention, 3x3 convolution, concatenated with the input of the head; a classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the convolutions.
        recurrence: number of passes of the attention, with the same weights.
        implementation: ``plain`` builds the map of all pairs in a row or column, ``fused`` does not.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head ``stage3`` on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import CCHead, FeatureInfo
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = CCHead(features, num_classes=19, channels=32)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 8, 12])
        >>> sorted(output.auxiliary)
        ['stage3']
    """

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        channels: int = 512,
        recurrence: int = 2,
        implementation: Literal["fused", "plain"] = "fused",
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features, num_classes, channels=channels, dropout=dropout, stage3_channels=stage3_channels)
        self.convs.insert(1, CrissCrossAttention(channels, recurrence=recurrence, implementation=implementation))


class GCHead(FCNHead):
    """3x3 convolution, global context, 3x3 convolution, concatenated with the input of the head, and a classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the convolutions.
        reduction: the transform of the context has ``channels // reduction`` channels.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head ``stage3`` on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import FeatureInfo, GCHead
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = GCHead(features, num_classes=19, channels=32)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 8, 12])
    """

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        channels: int = 512,
        reduction: int = 4,
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features, num_classes, channels=channels, dropout=dropout, stage3_channels=stage3_channels)
        self.convs.insert(1, GlobalContext(channels, reduction=reduction))


class DNLHead(FCNHead):
    """3x3 convolution, disentangled non-local block, 3x3 convolution, concatenated with the input; a classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the convolutions.
        reduction: query, key and value have ``channels // reduction`` channels.
        temperature: divides the energies of the pairs.
        implementation: ``plain`` builds the map of all pixel pairs, ``fused`` does not.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head ``stage3`` on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import DNLHead, FeatureInfo
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = DNLHead(features, num_classes=19, channels=32)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 8, 12])
    """

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        channels: int = 512,
        reduction: int = 2,
        temperature: float = 0.05,
        implementation: Literal["fused", "plain"] = "fused",
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features, num_classes, channels=channels, dropout=dropout, stage3_channels=stage3_channels)
        self.convs.insert(
            1,
            DisentangledNonLocal(channels, reduction=reduction, temperature=temperature, implementation=implementation),
        )


class NLHead(FCNHead):
    """3x3 convolution, non-local block, 3x3 convolution, concatenated with the input of the head, and a classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the convolutions.
        reduction: query, key and value have ``channels // reduction`` channels.
        implementation: ``plain`` builds the map of all pixel pairs, ``fused`` does not.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head ``stage3`` on the second to last level; null for none.

    Examples:
        >>> import torch
        >>> from segattn.heads import FeatureInfo, NLHead
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = NLHead(features, num_classes=19, channels=32)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 8, 12])
    """

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        channels: int = 512,
        reduction: int = 2,
        implementation: Literal["fused", "plain"] = "fused",
        dropout: float = 0.1,
        stage3_channels: int | None = 256,
    ) -> None:
        super().__init__(features, num_classes, channels=channels, dropout=dropout, stage3_channels=stage3_channels)
        self.convs.insert(1, NonLocal(channels, reduction=reduction, implementation=implementation))
