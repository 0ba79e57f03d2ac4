"""How OpenMMLab's mmsegmentation stores its heads on ``ResNetV1c`` with an ``FCNHead`` as auxiliary head.

https://github.com/open-mmlab/mmsegmentation
"""

from dataclasses import replace

from segattn.checkpoints.repository import Repository, norm_conv
from segattn.heads import (
    CCHead,
    DANetHead,
    DNLHead,
    EMANetHead,
    FCNHead,
    GCHead,
    ISAHead,
    NLHead,
    OCRHead,
    PSPHead,
)

_STAGE3 = {
    **norm_conv("auxiliary_head.convs.0", "head.stage3.0", "conv", "bn"),
    "auxiliary_head.conv_seg.": "head.stage3.2.",
}
_STAGE3_CHANNELS = {"stage3_channels": "auxiliary_head.convs.0.conv.weight"}

DA_HEAD = Repository(
    body="backbone.",
    mark="decode_head.pam_in_conv.",
    names={
        **norm_conv("decode_head.pam_in_conv", "head.position.0", "conv", "bn"),
        "decode_head.pam.query_project.": "head.position.1.query.",
        "decode_head.pam.key_project.": "head.position.1.key.",
        "decode_head.pam.value_project.": "head.position.1.value.",
        "decode_head.pam.gamma.scale": "head.position.1.gamma",
        **norm_conv("decode_head.pam_out_conv", "head.position.2", "conv", "bn"),
        **norm_conv("decode_head.cam_in_conv", "head.channel.0", "conv", "bn"),
        "decode_head.cam.gamma.scale": "head.channel.1.gamma",
        **norm_conv("decode_head.cam_out_conv", "head.channel.2", "conv", "bn"),
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
            names |= norm_conv(f"{theirs}.{part}_project.{index}", f"{ours}.{part}.{index}", "conv", "bn")
    return names


ISA_HEAD = Repository(
    body="backbone.",
    mark="decode_head.global_relation.",
    names={
        **norm_conv("decode_head.in_conv", "head.reduce", "conv", "bn"),
        **_two_convs("decode_head.global_relation", "head.attention.long_range"),
        "decode_head.global_relation.value_project.": "head.attention.long_range.value.",
        **norm_conv("decode_head.global_relation.output_project", "head.attention.long_range.out", "conv", "bn"),
        **_two_convs("decode_head.local_relation", "head.attention.short_range"),
        "decode_head.local_relation.value_project.": "head.attention.short_range.value.",
        **norm_conv("decode_head.local_relation.output_project", "head.attention.short_range.out", "conv", "bn"),
        **norm_conv("decode_head.out_conv", "head.classifier.0", "conv", "bn"),
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
        **norm_conv("decode_head.ema_in_conv", "head.attention.0", "conv", "bn"),
        "decode_head.ema_mid_conv.conv.": "head.attention.1.project.",
        "decode_head.ema_module.bases": "head.attention.1.bases",
        **norm_conv("decode_head.ema_out_conv", "head.attention.1.out", "conv", "bn"),
        **norm_conv("decode_head.bottleneck", "head.attention.2", "conv", "bn"),
        **norm_conv("decode_head.conv_cat", "head.classifier.0", "conv", "bn"),
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
        **norm_conv("decode_head.0.convs.0", "head.coarse.0", "conv", "bn"),
        "decode_head.0.conv_seg.": "head.coarse.2.",
        **norm_conv("decode_head.1.bottleneck", "head.reduce", "conv", "bn"),
        **_two_convs("decode_head.1.object_context_block", "head.context"),
        **norm_conv("decode_head.1.object_context_block.value_project", "head.context.value", "conv", "bn"),
        **norm_conv("decode_head.1.object_context_block.out_project", "head.context.out", "conv", "bn"),
        **norm_conv("decode_head.1.object_context_block.bottleneck", "head.classifier.0", "conv", "bn"),
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
        **norm_conv("decode_head.convs.0", "head.convs.0", "conv", "bn"),
        **norm_conv("decode_head.convs.1", "head.convs.1", "conv", "bn"),
        **norm_conv("decode_head.conv_cat", "head.classifier.0", "conv", "bn"),
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

_BLOCK_BETWEEN_CONVS = {**FCN_HEAD.names, **norm_conv("decode_head.convs.1", "head.convs.2", "conv", "bn")}
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
        **norm_conv("decode_head.dnl_block.conv_out", "head.convs.1.out", "conv", "bn"),
    },
    head_class=DNLHead,
    reductions={"reduction": "decode_head.dnl_block.g.conv.weight"},
    settings={"temperature": "temperature"},
    fixed={**FCN_HEAD.fixed, "use_scale": True, "mode": "embedded_gaussian"},
    left_out=r"decode_head\.dnl_block\.(theta\.conv|phi\.conv|conv_mask)\.bias",
)

NL_HEAD = replace(
    FCN_HEAD,
    mark="decode_head.nl_block.",
    names={
        **_BLOCK_BETWEEN_CONVS,
        "decode_head.nl_block.theta.conv.": "head.convs.1.query.",
        "decode_head.nl_block.phi.conv.": "head.convs.1.key.",
        "decode_head.nl_block.g.conv.": "head.convs.1.value.",
        **norm_conv("decode_head.nl_block.conv_out", "head.convs.1.out", "conv", "bn"),
    },
    head_class=NLHead,
    reductions={"reduction": "decode_head.nl_block.g.conv.weight"},
    settings={},
    fixed=DNL_HEAD.fixed,
    left_out=r"decode_head\.nl_block\.phi\.conv\.bias",
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

PSP_HEAD = Repository(
    body="backbone.",
    mark="decode_head.psp_modules.",
    names={
        **{
            name: prefix
            for index in range(9)
            for name, prefix in norm_conv(
                f"decode_head.psp_modules.{index}.1", f"head.pools.{index}.1", "conv", "bn"
            ).items()
        },
        **norm_conv("decode_head.bottleneck", "head.classifier.0", "conv", "bn"),
        "decode_head.conv_seg.": "head.classifier.2.",
        **_STAGE3,
    },
    classifier="decode_head.conv_seg.weight",
    head_class=PSPHead,
    widths={"channels": "decode_head.bottleneck.conv.weight"},
    optional=_STAGE3_CHANNELS,
    settings={"bins": "pool_scales", "align_corners": "align_corners"},
    align_corners=False,
)

OPENMMLAB_HEADS = {
    "DAHead": DA_HEAD,
    "CCHead": CC_HEAD,
    "DNLHead": DNL_HEAD,
    "GCHead": GC_HEAD,
    "NLHead": NL_HEAD,
    "PSPHead": PSP_HEAD,
    "ISAHead": ISA_HEAD,
    "EMAHead": EMA_HEAD,
    "OCRHead": OCR_HEAD,
    "FCNHead": FCN_HEAD,
}
"""Repositories by the name of the head in OpenMMLab's configs. FCNHead is the last because its mark fits every head."""
