"""OCR head: each pixel gathers from the regions of all classes, which a coarse prediction outlines.

Yuan et al.: Object-Contextual Representations for Semantic Segmentation. ECCV 2020, https://arxiv.org/abs/1909.11065,
section 3.

With x_i the features of position i, and m_k the coarse logits of class k:

    regions:  f_k = sum_i softmax over i of (m_ki) x_i
    relation: w_ik = softmax over k of (query(x_i) . key(f_k) / sqrt(d))
    context:  y_i = out(sum_k w_ik value(f_k)),  z_i = fuse(y_i, x_i)

Query and key are two 1x1 conv-BN-ReLU; value, out and fuse are one each.

Differences from the paper: none known. The factor 1 / sqrt(d) is that of the released code and of OpenMMLab's. Coarse
logits of another size than the features are resized.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import Conv2dNormActivation

from segattn.attention.interlaced import projection
from segattn.heads.base import FeatureInfo, Head, HeadOutput, conv_classifier


class ObjectContext(nn.Module):
    """What each position gathers from the regions of all classes.

    Args:
        channels: number of input and output channels.
        width: channels of query, key and value.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.query = projection(channels, width)
        self.key = projection(channels, width)
        self.value = Conv2dNormActivation(channels, width, kernel_size=1)
        self.out = Conv2dNormActivation(width, channels, kernel_size=1)

    def forward(self, x: Float[Tensor, "b c h w"], coarse: Float[Tensor, "b classes h w"]) -> Float[Tensor, "b c h w"]:
        """The context of each position; ``coarse`` are logits."""
        regions = self.regions(x, coarse)
        value = rearrange(self.value(regions), "b d k 1 -> b k d")
        context = rearrange(self.relation(x, regions) @ value, "b (h w) d -> b d h w", h=x.shape[2])
        refined: Tensor = self.out(context)
        return refined

    def regions(self, x: Float[Tensor, "b c h w"], coarse: Float[Tensor, "b k h w"]) -> Float[Tensor, "b c k 1"]:
        """The features of the region of each class."""
        shares = rearrange(coarse, "b k h w -> b k (h w)").softmax(dim=-1)
        return rearrange(shares @ rearrange(x, "b c h w -> b (h w) c"), "b k c -> b c k 1")

    def relation(self, x: Float[Tensor, "b c h w"], regions: Float[Tensor, "b c k 1"]) -> Float[Tensor, "b n k"]:
        """The weight of each region at each of the n = h w positions."""
        query = rearrange(self.query(x), "b d h w -> b (h w) d") * self.scale
        key = rearrange(self.key(regions), "b d k 1 -> b d k")
        weights: Tensor = (query @ key).softmax(dim=-1)
        return weights


class OCRHead(Head):
    """3x3 convolution, concatenated with its object context, 1x1 convolution, and a classifier.

    Auxiliary output: ``coarse``, the prediction from the second to last level that outlines the regions.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        channels: width of the convolutions.
        attention_channels: width of query, key and value.
        coarse_channels: width of the classifier of the coarse prediction.
        dropout: probability of dropping a channel before each classifier.

    Examples:
        >>> import torch
        >>> from segattn.heads import FeatureInfo, OCRHead
        >>> features = FeatureInfo(channels=(3, 16, 32, 64), strides=(1, 2, 4, 8))
        >>> head = OCRHead(features, num_classes=19, channels=32, attention_channels=16, coarse_channels=16)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 8, 12])
        >>> sorted(output.auxiliary)
        ['coarse']
    """

    auxiliary_names = ("coarse",)
    min_levels = 2

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        channels: int = 512,
        attention_channels: int = 256,
        coarse_channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(features)
        self.coarse = conv_classifier(features.channels[-2], coarse_channels, num_classes, dropout)
        self.reduce = Conv2dNormActivation(features.channels[-1], channels, kernel_size=3)
        self.context = ObjectContext(channels, attention_channels)
        self.classifier = conv_classifier(2 * channels, channels, num_classes, dropout, kernel_size=1)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the output stride."""
        x, coarse = self.reduce(features[-1]), self.coarse(features[-2])
        context = self.context(x, interpolate(coarse, x.shape[2:], mode="bilinear"))
        logits = self.classifier(torch.cat([context, x], dim=1))
        return HeadOutput(logits, {"coarse": coarse} if self.training else {})
