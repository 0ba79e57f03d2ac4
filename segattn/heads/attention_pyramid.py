"""Attention in a feature pyramid that sees fine levels: context on the coarsest level, refinement on all levels.

Lin et al.: Feature Pyramid Networks for Object Detection. CVPR 2017, https://arxiv.org/abs/1612.03144 (top-down path).
Kirillov et al.: Panoptic Feature Pyramid Networks. CVPR 2019, https://arxiv.org/abs/1901.02446 (segmentation branch).
Xiao et al.: Unified Perceptual Parsing for Scene Understanding. ECCV 2018, https://arxiv.org/abs/1807.10221 (UPerNet).

Differences from the papers: the attention blocks are the design of this project. The segmentation branch aligns pixel
centers when it doubles the resolution, and has no norm on the 1x1 convolutions, as in the first paper. In the form of
UPerNet, the coarsest level has a 3x3 convolution before the levels are concatenated, as all others have; the width is
256 instead of 512.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from segmentation_models_pytorch.decoders.upernet.decoder import PSPModule
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import Conv2dNormActivation

from segattn.attention.block import BlockFactory
from segattn.attention.identity_start import attention_block
from segattn.heads.base import FeatureInfo, Head, HeadOutput


class AttentionPyramid(Head):
    """Feature pyramid over all encoder levels from a finest stride on, with attention blocks.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        topology: ``fpn`` adds the levels after they are brought to the finest resolution by convolutions; ``upernet``
            concatenates them, and has pyramid pooling on the coarsest level; ``concatenated`` has no pooling.
        stride: stride of the finest level and of the logits, 4 or 2. At 2, all steps at the finest resolution cost four
            times as much.
        channels: width of the top-down path. With ``fpn``, the segmentation branch has half of it, which must be a
            multiple of 32.
        context: makes the block on the coarsest encoder level from a number of channels; null for none.
        context_channels: width of that block, between two 1x1 convolutions.
        refinement: makes the block on each level of the top-down path from its number of channels; null for none.
        identity_start: whether the blocks have no effect at the first step, so that the head starts as a plain pyramid.
        dropout: probability of dropping a channel before the classifier.
        stage3_channels: width of the auxiliary head on the second to last level; null for none.

    Raises:
        ValueError: if an argument is not allowed, or the encoder has no level of stride 2 for ``stride`` 2.

    Examples:
        >>> import torch
        >>> from segattn.heads import AttentionPyramid, FeatureInfo
        >>> features = FeatureInfo(channels=(3, 8, 16, 24, 32, 64), strides=(1, 2, 4, 8, 16, 32))
        >>> head = AttentionPyramid(features, num_classes=19, channels=64)
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 16, 24])
    """

    min_levels = 3

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        topology: Literal["fpn", "upernet", "concatenated"] = "fpn",
        stride: Literal[4, 2] = 4,
        channels: int = 256,
        context: BlockFactory | None = None,
        context_channels: int = 128,
        refinement: BlockFactory | None = None,
        identity_start: bool = True,
        dropout: float = 0.1,
        stage3_channels: int | None = None,
    ) -> None:
        super().__init__(features)
        if topology not in ("fpn", "upernet", "concatenated"):
            raise ValueError(f"topology must be fpn, upernet or concatenated, got {topology!r}.")
        if stride not in (4, 2):
            raise ValueError(f"stride must be 4 or 2, got {stride}.")
        self.topology = topology
        self.levels = features.levels_from(stride)
        widths = [features.channels[level] for level in self.levels]
        strides = [features.strides[level] for level in self.levels]
        if stride == 2 and strides[0] != stride:
            raise ValueError(f"stride 2 needs an encoder with a level of stride 2, but its levels have {strides}.")
        with torch.random.fork_rng(devices=[]):  # so that a seed gives the rest the same weights without these blocks
            self.context: nn.Module = nn.Identity()
            if context is not None:
                narrow = partial(_Narrow, context, width=context_channels)
                self.context = attention_block(narrow, widths[-1], identity_start=identity_start)
            refined: list[nn.Module] = [nn.Identity() for _ in widths]
            if refinement is not None:
                refined = [attention_block(refinement, channels, identity_start=identity_start) for _ in widths]
        if topology == "fpn":
            width = channels // 2
            if width < 1 or width % 32:
                raise ValueError(f"channels must be a multiple of 64, got {channels}.")
            self.lateral = nn.ModuleList(nn.Conv2d(own, channels, kernel_size=1) for own in widths)
            self.refine = nn.ModuleList(refined)
            doublings = [round(math.log2(own / stride)) for own in strides]
            self.branches = nn.ModuleList(_Branch(channels, width, count) for count in doublings)
        else:
            width = channels
            self.lateral = nn.ModuleList(Conv2dNormActivation(own, channels, kernel_size=1) for own in widths[:-1])
            pooled = topology == "upernet"
            self.top = PSPModule(widths[-1], channels) if pooled else Conv2dNormActivation(widths[-1], channels, 1)
            self.refine = nn.ModuleList(
                nn.Sequential(block, Conv2dNormActivation(channels, channels, kernel_size=3)) for block in refined
            )
            self.fuse = Conv2dNormActivation(channels * len(widths), channels, kernel_size=3)
        self.classifier = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, num_classes, kernel_size=1))
        self.add_stage3(features, stage3_channels, num_classes, dropout)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the finest stride."""
        used = [features[level] for level in self.levels]
        used[-1] = self.context(used[-1])
        fused = self._added(used) if self.topology == "fpn" else self._concatenated(used)
        return HeadOutput(self.classifier(fused), self.stage3_logits(features))

    def _added(self, used: Sequence[Tensor]) -> Tensor:
        merged = [self.lateral[-1](used[-1])]
        for lateral, feature in zip(reversed(self.lateral[:-1]), reversed(used[:-1]), strict=True):
            merged.append(lateral(feature) + interpolate(merged[-1], size=feature.shape[-2:], mode="nearest"))
        parts = [
            branch(refine(x), size=used[0].shape[-2:])
            for branch, refine, x in zip(self.branches, self.refine, reversed(merged), strict=True)
        ]
        return torch.stack(parts).sum(dim=0)

    def _concatenated(self, used: Sequence[Tensor]) -> Tensor:
        merged = [self.top(used[-1])]
        for lateral, feature in zip(reversed(self.lateral), reversed(used[:-1]), strict=True):
            merged.append(lateral(feature) + _resize(merged[-1], feature))
        refined = [refine(x) for refine, x in zip(self.refine, reversed(merged), strict=True)]
        fused: Tensor = self.fuse(torch.cat([_resize(x, refined[0]) for x in refined], dim=1))
        return fused


class _Narrow(nn.Module):
    """A block between two 1x1 convolutions, in a residual connection."""

    def __init__(self, block: BlockFactory, channels: int, *, width: int) -> None:
        super().__init__()
        self.reduce = Conv2dNormActivation(channels, width, kernel_size=1)
        self.block = block(width)
        self.expand = nn.Conv2d(width, channels, kernel_size=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        expanded: Tensor = self.expand(self.block(self.reduce(x)))
        return x + expanded


class _Branch(nn.Module):
    """3x3 convolution, group norm, ReLU and doubling of the resolution, until the finest stride is reached."""

    def __init__(self, channels: int, width: int, doublings: int) -> None:
        super().__init__()
        self.doublings = doublings
        norm = partial(nn.GroupNorm, min(32, width // 4))  # one channel alone has no variance where the map is 1x1
        self.convs = nn.ModuleList(
            Conv2dNormActivation(channels if step == 0 else width, width, kernel_size=3, norm_layer=norm)
            for step in range(max(1, doublings))
        )

    def forward(self, x: Tensor, *, size: Sequence[int]) -> Tensor:
        for step, conv in enumerate(self.convs):
            x = conv(x)
            if step + 1 < self.doublings:
                x = interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return interpolate(x, size=size, mode="bilinear", align_corners=False) if self.doublings else x


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
