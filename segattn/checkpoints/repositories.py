"""How other repositories name the weights of their models, and what their weights say about the architecture.

- OpenMMLab's mmsegmentation, several heads on ``ResNetV1c`` with an ``FCNHead`` as auxiliary head:
  https://github.com/open-mmlab/mmsegmentation
- The authors of DANet: https://github.com/junfu1115/DANet
- The authors of FLANet: https://github.com/Ilareina/FullyAttentional

All dilate the encoder to output stride 8. The first block of a dilated stage has the dilation of the previous stage in
the first two repositories, and that of its own stage in the third.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor

from segattn.heads import CCHead, DANetHead, DNLHead, EMANetHead, FCNHead, FLAHead, GCHead, Head, ISAHead, OCRHead
from segattn.models.encoders import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec

Shapes = Mapping[str, tuple[int, ...]]

_BODY = "encoder.body.model."
_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
_STEMS = {32: "c", 64: "s"}
"""Width of the first of three stem convolutions -> the letter that timm gives such ResNets."""


@dataclass(frozen=True)
class Repository:
    """How a repository stores a model with one of its heads.

    Attributes:
        body: prefix of the encoder's weights.
        mark: prefix of weights that only models with this head have.
        names: prefix of the head's weights -> our prefix.
        classifier: the weight whose first dimension is the number of classes.
        head_class: our head.
        widths: argument of the head -> the weight whose first dimension is its value.
        optional: as ``widths``, for weights that may be absent; the argument is then None.
        lengths: argument of the head -> the weight whose last dimension is its value.
        reductions: argument of the head -> the weight whose first dimension is ``channels`` divided by its value.
        options: further arguments of the head.
        settings: argument of the head -> key of the head in OpenMMLab's config; used if the file contains a config.
        fixed: key of the head in OpenMMLab's config -> the only value that our head supports.
        other_order: the weight whose inputs are encoder and attention features, in the opposite order of ours.
        align_corners: whether logits are resized with aligned corners, unless the file specifies it.
        dilations: dilations of our encoder, if they differ from the library's.
        left_out: pattern of the names of weights that are not needed.
    """

    body: str
    mark: str
    names: Mapping[str, str]
    classifier: str
    head_class: Callable[..., Head]
    widths: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    lengths: Mapping[str, str] = field(default_factory=dict)
    reductions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    other_order: str | None = None
    align_corners: bool = True
    dilations: dict[str, list[int]] | None = None
    left_out: str = r"(?!)"

    def renamed(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with our names, shapes and order of channels; those with unknown names keep them."""
        prefixes = {
            **self.names,
            f"{self.body}stem.7.": f"{_BODY}bn1.",
            f"{self.body}stem.": f"{_BODY}conv1.",
            self.body: _BODY,
        }
        renamed = {}
        for name, value in weights.items():
            prefix = next((theirs for theirs in prefixes if name.startswith(theirs)), "")
            key = prefixes.get(prefix, "") + name.removeprefix(prefix)
            renamed[key] = value.reshape(1) if value.ndim == 0 and "gamma" in name else value
            if name == self.other_order:
                renamed[key] = value.roll(weights[self.widths["channels"]].shape[0], dims=1)
        return renamed

    def head(self, shapes: Shapes, config: Mapping[str, Any]) -> Callable[..., Head]:
        """Our head for weights of these shapes and OpenMMLab's config of the head, which may be empty.

        Raises:
            ValueError: if the config has a value that our head does not support.
        """
        widths: dict[str, int | None] = {name: shapes[weight][0] for name, weight in self.widths.items()}
        widths |= {name: shapes[weight][-1] for name, weight in self.lengths.items()}
        widths |= {
            name: shapes[self.widths["channels"]][0] // shapes[weight][0] for name, weight in self.reductions.items()
        }
        widths |= {name: shapes[weight][0] if weight in shapes else None for name, weight in self.optional.items()}
        for key, value in self.fixed.items():
            if config.get(key, value) != value:
                raise ValueError(f"its config has {key} {config[key]!r}; supported is {value!r}")
        settings = {name: config[key] for name, key in self.settings.items() if key in config}
        return partial(self.head_class, **widths, **self.options, **settings)

    def encoder(self, shapes: Shapes) -> EncoderSpec:
        """The ResNet whose weights have these shapes."""
        stages = re.compile(rf"{re.escape(self.body)}layer([1-4])\.\d+\.conv3\.weight$")
        found = [match[1] for match in map(stages.match, shapes) if match]
        blocks = tuple(found.count(stage) for stage in "1234")
        if blocks not in _DEPTHS:
            raise ValueError(f"its encoder is not ResNet-50, 101 or 152: its stages have {blocks} bottlenecks")
        stems = [shapes[name] for name in (f"{self.body}stem.0.weight", f"{self.body}conv1.0.weight") if name in shapes]
        if stems and stems[0][0] not in _STEMS:
            raise ValueError(f"its stem has {stems[0][0]} channels; supported are {', '.join(map(str, _STEMS))}")
        name = f"tu-resnet{_DEPTHS[blocks]}{_STEMS[stems[0][0]] if stems else ''}"
        return EncoderSpec(name, None, 8, mean=IMAGENET_MEAN, std=IMAGENET_STD, dilations=self.dilations)


def _norm_conv(theirs: str, ours: str, conv: str, norm: str) -> dict[str, str]:
    return {f"{theirs}.{conv}.": f"{ours}.0.", f"{theirs}.{norm}.": f"{ours}.1."}


_STAGE3 = {
    **_norm_conv("auxiliary_head.convs.0", "head.stage3.0", "conv", "bn"),
    "auxiliary_head.conv_seg.": "head.stage3.2.",
}
_STAGE3_CHANNELS = {"stage3_channels": "auxiliary_head.convs.0.conv.weight"}

DA_HEAD = Repository(
    body="backbone.",
    mark="decode_head.pam_in_conv.",
    names={
        **_norm_conv("decode_head.pam_in_conv", "head.position.0", "conv", "bn"),
        "decode_head.pam.query_project.": "head.position.1.query.",
        "decode_head.pam.key_project.": "head.position.1.key.",
        "decode_head.pam.value_project.": "head.position.1.value.",
        "decode_head.pam.gamma.scale": "head.position.1.gamma",
        **_norm_conv("decode_head.pam_out_conv", "head.position.2", "conv", "bn"),
        **_norm_conv("decode_head.cam_in_conv", "head.channel.0", "conv", "bn"),
        "decode_head.cam.gamma.scale": "head.channel.1.gamma",
        **_norm_conv("decode_head.cam_out_conv", "head.channel.2", "conv", "bn"),
        "decode_head.conv_seg.": "head.classifiers.fused.1.",
        "decode_head.pam_conv_seg.": "head.classifiers.position.1.",
        "decode_head.cam_conv_seg.": "head.classifiers.channel.1.",
        **_STAGE3,
    },
    classifier="decode_head.conv_seg.weight",
    head_class=DANetHead,
    widths={"channels": "decode_head.pam_in_conv.conv.weight"},
    optional=_STAGE3_CHANNELS,
    align_corners=False,
)


def _two_convs(theirs: str, ours: str) -> dict[str, str]:
    """OpenMMLab's query and key of two convolutions each."""
    names: dict[str, str] = {}
    for part in ("query", "key"):
        for index in range(2):
            names |= _norm_conv(f"{theirs}.{part}_project.{index}", f"{ours}.{part}.{index}", "conv", "bn")
    return names


ISA_HEAD = Repository(
    body="backbone.",
    mark="decode_head.global_relation.",
    names={
        **_norm_conv("decode_head.in_conv", "head.reduce", "conv", "bn"),
        **_two_convs("decode_head.global_relation", "head.attention.long_range"),
        "decode_head.global_relation.value_project.": "head.attention.long_range.value.",
        **_norm_conv("decode_head.global_relation.output_project", "head.attention.long_range.out", "conv", "bn"),
        **_two_convs("decode_head.local_relation", "head.attention.short_range"),
        "decode_head.local_relation.value_project.": "head.attention.short_range.value.",
        **_norm_conv("decode_head.local_relation.output_project", "head.attention.short_range.out", "conv", "bn"),
        **_norm_conv("decode_head.out_conv", "head.classifier.0", "conv", "bn"),
        "decode_head.conv_seg.": "head.classifier.2.",
        **_STAGE3,
    },
    classifier="decode_head.conv_seg.weight",
    head_class=ISAHead,
    widths={"channels": "decode_head.in_conv.conv.weight"},
    optional=_STAGE3_CHANNELS,
    reductions={"reduction": "decode_head.global_relation.query_project.0.conv.weight"},
    settings={"window": "down_factor"},
    align_corners=False,
)

EMA_HEAD = Repository(
    body="backbone.",
    mark="decode_head.ema_module.",
    names={
        **_norm_conv("decode_head.ema_in_conv", "head.attention.0", "conv", "bn"),
        "decode_head.ema_mid_conv.conv.": "head.attention.1.project.",
        "decode_head.ema_module.bases": "head.attention.1.bases",
        **_norm_conv("decode_head.ema_out_conv", "head.attention.1.out", "conv", "bn"),
        **_norm_conv("decode_head.bottleneck", "head.attention.2", "conv", "bn"),
        **_norm_conv("decode_head.conv_cat", "head.classifier.0", "conv", "bn"),
        "decode_head.conv_seg.": "head.classifier.2.",
        **_STAGE3,
    },
    classifier="decode_head.conv_seg.weight",
    head_class=EMANetHead,
    widths={
        "channels": "decode_head.bottleneck.conv.weight",
        "attention_channels": "decode_head.ema_in_conv.conv.weight",
    },
    optional=_STAGE3_CHANNELS,
    lengths={"bases": "decode_head.ema_module.bases"},
    settings={"iterations": "num_stages", "momentum": "momentum"},
    align_corners=False,
)

OCR_HEAD = Repository(
    body="backbone.",
    mark="decode_head.1.object_context_block.",
    names={
        **_norm_conv("decode_head.0.convs.0", "head.coarse.0", "conv", "bn"),
        "decode_head.0.conv_seg.": "head.coarse.2.",
        **_norm_conv("decode_head.1.bottleneck", "head.reduce", "conv", "bn"),
        **_two_convs("decode_head.1.object_context_block", "head.context"),
        **_norm_conv("decode_head.1.object_context_block.value_project", "head.context.value", "conv", "bn"),
        **_norm_conv("decode_head.1.object_context_block.out_project", "head.context.out", "conv", "bn"),
        **_norm_conv("decode_head.1.object_context_block.bottleneck", "head.classifier.0", "conv", "bn"),
        "decode_head.1.conv_seg.": "head.classifier.2.",
    },
    classifier="decode_head.1.conv_seg.weight",
    head_class=OCRHead,
    widths={
        "channels": "decode_head.1.bottleneck.conv.weight",
        "attention_channels": "decode_head.1.object_context_block.value_project.conv.weight",
        "coarse_channels": "decode_head.0.convs.0.conv.weight",
    },
    fixed={"scale": 1},
    align_corners=False,
)

FCN_HEAD = Repository(
    body="backbone.",
    mark="decode_head.",
    names={
        **_norm_conv("decode_head.convs.0", "head.convs.0", "conv", "bn"),
        **_norm_conv("decode_head.convs.1", "head.convs.1", "conv", "bn"),
        **_norm_conv("decode_head.conv_cat", "head.classifier.0", "conv", "bn"),
        "decode_head.conv_seg.": "head.classifier.2.",
        **_STAGE3,
    },
    classifier="decode_head.conv_seg.weight",
    head_class=FCNHead,
    widths={"channels": "decode_head.convs.0.conv.weight"},
    optional=_STAGE3_CHANNELS,
    settings={"convs": "num_convs"},
    fixed={"dilation": 1},
    align_corners=False,
)

_BLOCK_BETWEEN_CONVS = {**FCN_HEAD.names, **_norm_conv("decode_head.convs.1", "head.convs.2", "conv", "bn")}
"""Names of an FCN head with a block between its two convolutions."""

CC_HEAD = replace(
    FCN_HEAD,
    mark="decode_head.cca.",
    names={
        **_BLOCK_BETWEEN_CONVS,
        "decode_head.cca.query_conv.": "head.convs.1.query.",
        "decode_head.cca.key_conv.": "head.convs.1.key.",
        "decode_head.cca.value_conv.": "head.convs.1.value.",
        "decode_head.cca.gamma.scale": "head.convs.1.gamma",
    },
    head_class=CCHead,
    settings={"recurrence": "recurrence"},
)

DNL_HEAD = replace(
    FCN_HEAD,
    mark="decode_head.dnl_block.",
    names={
        **_BLOCK_BETWEEN_CONVS,
        "decode_head.dnl_block.theta.conv.": "head.convs.1.query.",
        "decode_head.dnl_block.phi.conv.": "head.convs.1.key.",
        "decode_head.dnl_block.g.conv.": "head.convs.1.value.",
        "decode_head.dnl_block.conv_mask.": "head.convs.1.mask.",
        **_norm_conv("decode_head.dnl_block.conv_out", "head.convs.1.out", "conv", "bn"),
    },
    head_class=DNLHead,
    reductions={"reduction": "decode_head.dnl_block.g.conv.weight"},
    settings={"temperature": "temperature"},
    fixed={**FCN_HEAD.fixed, "use_scale": True, "mode": "embedded_gaussian"},
    left_out=r"decode_head\.dnl_block\.(theta\.conv|phi\.conv|conv_mask)\.bias",
)

GC_HEAD = replace(
    FCN_HEAD,
    mark="decode_head.gc_block.",
    names={
        **_BLOCK_BETWEEN_CONVS,
        "decode_head.gc_block.conv_mask.": "head.convs.1.mask.",
        "decode_head.gc_block.channel_add_conv.": "head.convs.1.transform.",
    },
    head_class=GCHead,
    reductions={"reduction": "decode_head.gc_block.channel_add_conv.0.weight"},
    settings={},
    left_out=r"decode_head\.gc_block\.conv_mask\.bias",
)

DANET = Repository(
    body="pretrained.",
    mark="head.conv5a.",
    names={
        **_norm_conv("head.conv5a", "head.position.0", "0", "1"),
        "head.sa.query_conv.": "head.position.1.query.",
        "head.sa.key_conv.": "head.position.1.key.",
        "head.sa.value_conv.": "head.position.1.value.",
        "head.sa.gamma": "head.position.1.gamma",
        **_norm_conv("head.conv51", "head.position.2", "0", "1"),
        **_norm_conv("head.conv5c", "head.channel.0", "0", "1"),
        "head.sc.gamma": "head.channel.1.gamma",
        **_norm_conv("head.conv52", "head.channel.2", "0", "1"),
        "head.conv6.1.": "head.classifiers.position.1.",
        "head.conv7.1.": "head.classifiers.channel.1.",
        "head.conv8.1.": "head.classifiers.fused.1.",
    },
    classifier="head.conv8.1.weight",
    head_class=DANetHead,
    widths={"channels": "head.conv5a.0.weight"},
    options={"stage3_channels": None},
    left_out=r"pretrained\.fc\.",
)

FLANET = Repository(
    body="backbone.",
    mark="fully.",
    names={
        **_norm_conv("conv", "head.reduce.0", "0", "1"),
        **_norm_conv("conv", "head.reduce.1", "3", "4"),
        "fully.conv1.": "head.attention.column_encoding.",
        "fully.conv2.": "head.attention.row_encoding.",
        **_norm_conv("fully.conv", "head.attention.conv", "0", "1"),
        "fully.gamma": "head.attention.gamma",
        **_norm_conv("conv_out1.conv", "head.classifier.0", "1", "2"),
        "conv_out1.conv.5.": "head.classifier.2.",
        **_norm_conv("conv_out2.conv", "head.auxiliary.stage2.0", "1", "2"),
        "conv_out2.conv.5.": "head.auxiliary.stage2.2.",
        **_norm_conv("conv_out3.conv", "head.auxiliary.stage3.0", "1", "2"),
        "conv_out3.conv.5.": "head.auxiliary.stage3.2.",
    },
    classifier="conv_out1.conv.5.weight",
    head_class=FLAHead,
    widths={"channels": "conv.0.weight", "auxiliary_channels": "conv_out2.conv.1.weight"},
    options={"upsample_mode": "nearest", "upsample_auxiliary": True},
    other_order="conv_out1.conv.1.weight",
    dilations={"layer3": [2], "layer4": [4]},
    left_out=r"backbone\.fc\.",
)

OPENMMLAB_HEADS = {
    "DAHead": DA_HEAD,
    "CCHead": CC_HEAD,
    "DNLHead": DNL_HEAD,
    "GCHead": GC_HEAD,
    "ISAHead": ISA_HEAD,
    "EMAHead": EMA_HEAD,
    "OCRHead": OCR_HEAD,
    "FCNHead": FCN_HEAD,
}
"""Repositories by the name of the head in OpenMMLab's configs. FCNHead is the last because its mark fits every head."""

_ORIGINS = {
    "openmmlab": (("backbone.", "decode_head."), tuple(OPENMMLAB_HEADS.values())),
    "danet": ((DANET.body, DANET.mark), (DANET,)),
    "flanet": ((FLANET.body, FLANET.mark), (FLANET,)),
}
"""Origin -> prefixes that all its checkpoints have, and its repositories."""


def origin_of(names: Collection[str]) -> str | None:
    """The origin of a checkpoint with weights of these names, or None."""
    for origin, (prefixes, _) in _ORIGINS.items():
        if all(_starts(names, prefix) for prefix in prefixes):
            return origin
    return None


def repository_of(names: Collection[str]) -> Repository | None:
    """The repository, and with it the head, of a checkpoint with weights of these names, or None.

    For an unknown head of OpenMMLab it is that of FCNHead, which fits the encoder.
    """
    _, repositories = _ORIGINS.get(origin_of(names) or "", ((), ()))
    return next((repository for repository in repositories if _starts(names, repository.mark)), None)


def _starts(names: Collection[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)
