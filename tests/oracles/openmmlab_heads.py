"""More heads of OpenMMLab on ResNetV1c-50-D8, restated plainly and driven by their weights, under their names."""

import torch
from torch.nn import functional as F

from tests.oracles.foreign import MEAN, STD, contracted, conv, norm, resnet, small_classifier

WIDTH = 32


def layer(state, name, x, out, size=1):
    """Convolution, batch norm and ReLU."""
    return norm(state, f"{name}.bn", conv(state, f"{name}.conv", x, out, size)).relu()


def model(state, image, classes, head):
    """Logits and those of the auxiliary head; ``head(state, x)`` returns what ``conv_seg`` classifies."""
    stages = resnet(state, "backbone.", (image - MEAN) / STD, stem="openmmlab", dilations=contracted)
    logits = {
        "logits": conv(state, "decode_head.conv_seg", head(state, stages[3]), classes, bias=True),
        "stage3": small_classifier(state, "auxiliary_head", stages[2], classes),
    }
    return {name: resized(value, image) for name, value in logits.items()}


def resized(logits, image):
    return F.interpolate(logits, image.shape[2:], mode="bilinear", align_corners=False)


def fcn(state, image, classes):
    """FCNHead with two convolutions."""

    def head(state, x):
        before = layer(state, "decode_head.convs.0", x, WIDTH, 3)
        before = layer(state, "decode_head.convs.1", before, WIDTH, 3)
        return layer(state, "decode_head.conv_cat", torch.cat([x, before], 1), WIDTH, 3)

    return model(state, image, classes, head)
