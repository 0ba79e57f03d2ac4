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


def fcn(state, image, classes, *, block=lambda state, x: x):
    """FCNHead with two convolutions, and a block between them in its subclasses."""

    def head(state, x):
        before = layer(state, "decode_head.convs.0", x, WIDTH, 3)
        before = layer(state, "decode_head.convs.1", block(state, before), WIDTH, 3)
        return layer(state, "decode_head.conv_cat", torch.cat([x, before], 1), WIDTH, 3)

    return model(state, image, classes, head)


def criss_cross(state, x):
    """The block of CCHead with its recurrence of 2, one position at a time."""
    height, width = x.shape[2:]
    gamma = state._keep("decode_head.cca.gamma.scale", lambda: torch.tensor(0.3))
    for _ in range(2):
        query, key, value = (
            conv(state, f"decode_head.cca.{name}_conv", x, out, bias=True)
            for name, out in (("query", WIDTH // 8), ("key", WIDTH // 8), ("value", WIDTH))
        )
        out = torch.zeros_like(x)
        for r in range(height):
            for c in range(width):
                rows = [*(row for row in range(height) if row != r), *[r] * width]
                columns = [*[c] * (height - 1), *range(width)]
                weights = (query[:, :, r, c, None] * key[:, :, rows, columns]).sum(1, keepdim=True).softmax(-1)
                out[:, :, r, c] = (weights * value[:, :, rows, columns]).sum(-1)
        x = gamma * out + x
    return x


def global_context(state, x):
    """The block of GCHead."""
    mask = conv(state, "decode_head.gc_block.conv_mask", x, 1, bias=True)
    context = (x * mask.flatten(1).softmax(1).reshape(mask.shape)).sum((2, 3), keepdim=True)
    name, width = "decode_head.gc_block.channel_add_conv", WIDTH // 4
    hidden = conv(state, f"{name}.0", context, width, bias=True)
    scale, bias = state.positive(f"{name}.1.weight", width, 1, 1), state.offset(f"{name}.1.bias", width, 1, 1)
    hidden = F.layer_norm(hidden, (width, 1, 1), scale, bias).relu()
    return x + conv(state, f"{name}.3", hidden, WIDTH, bias=True)
