"""How other repositories name the weights of their models, and what their weights say about the architecture.

- OpenMMLab's mmsegmentation, several heads on ``ResNetV1c`` with an ``FCNHead`` as auxiliary head:
  https://github.com/open-mmlab/mmsegmentation
- The authors of DANet: https://github.com/junfu1115/DANet
- The authors of FLANet: https://github.com/Ilareina/FullyAttentional

All dilate the encoder to output stride 8. The first block of a dilated stage has the dilation of the previous stage in
the first two repositories, and that of its own stage in the third.
"""

from collections.abc import Collection

from segattn.checkpoints.openmmlab_heads import OPENMMLAB_HEADS
from segattn.checkpoints.repository import Repository, norm_conv
from segattn.heads import DANetHead, FLAHead

DANET = Repository(
    body="pretrained.",
    mark="head.conv5a.",
    names={
        **norm_conv("head.conv5a", "head.position.0", "0", "1"),
        "head.sa.query_conv.": "head.position.1.query.",
        "head.sa.key_conv.": "head.position.1.key.",
        "head.sa.value_conv.": "head.position.1.value.",
        "head.sa.gamma": "head.position.1.gamma",
        **norm_conv("head.conv51", "head.position.2", "0", "1"),
        **norm_conv("head.conv5c", "head.channel.0", "0", "1"),
        "head.sc.gamma": "head.channel.1.gamma",
        **norm_conv("head.conv52", "head.channel.2", "0", "1"),
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
        **norm_conv("conv", "head.reduce.0", "0", "1"),
        **norm_conv("conv", "head.reduce.1", "3", "4"),
        "fully.conv1.": "head.attention.column_encoding.",
        "fully.conv2.": "head.attention.row_encoding.",
        **norm_conv("fully.conv", "head.attention.conv", "0", "1"),
        "fully.gamma": "head.attention.gamma",
        **norm_conv("conv_out1.conv", "head.classifier.0", "1", "2"),
        "conv_out1.conv.5.": "head.classifier.2.",
        **norm_conv("conv_out2.conv", "head.auxiliary.stage2.0", "1", "2"),
        "conv_out2.conv.5.": "head.auxiliary.stage2.2.",
        **norm_conv("conv_out3.conv", "head.auxiliary.stage3.0", "1", "2"),
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
