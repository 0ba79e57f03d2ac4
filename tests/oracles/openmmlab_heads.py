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


def grouped_attention(state, name, x):
    """Scaled dot-product attention among all positions of each image, a group, with a closing convolution."""
    groups, _, height, width = x.shape
    query, key = (
        layer(state, f"{name}.{part}_project.1", layer(state, f"{name}.{part}_project.0", x, WIDTH // 2), WIDTH // 2)
        for part in ("query", "key")
    )
    value = conv(state, f"{name}.value_project", x, WIDTH, bias=True)
    query, key, value = (part.flatten(2) for part in (query, key, value))
    weights = (query.transpose(1, 2) @ key / (WIDTH // 2) ** 0.5).softmax(-1)
    attended = (value @ weights.transpose(1, 2)).reshape(groups, -1, height, width)
    return layer(state, f"{name}.output_project", attended, WIDTH)


def isa(state, image, classes, window=(8, 8)):
    """ISAHead."""
    p, q = window

    def head(state, x):
        before = layer(state, "decode_head.in_conv", x, WIDTH, 3)
        b, c, height, width = before.shape
        rows, columns = -height % p, -width % q
        x = F.pad(before, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        m, n = x.shape[2] // p, x.shape[3] // q
        x = x.reshape(b, c, m, p, n, q).permute(0, 3, 5, 1, 2, 4).reshape(-1, c, m, n)
        x = grouped_attention(state, "decode_head.global_relation", x)
        x = x.reshape(b, p, q, c, m, n).permute(0, 4, 5, 3, 1, 2).reshape(-1, c, p, q)
        x = grouped_attention(state, "decode_head.local_relation", x)
        x = x.reshape(b, m, n, c, p, q).permute(0, 3, 1, 4, 2, 5).reshape(b, c, m * p, n * q)
        x = x[:, :, rows // 2 : rows // 2 + height, columns // 2 : columns // 2 + width]
        return layer(state, "decode_head.out_conv", torch.cat([x, before], 1), WIDTH)

    return model(state, image, classes, head)


def global_context(state, x):
    """The block of GCHead."""
    mask = conv(state, "decode_head.gc_block.conv_mask", x, 1, bias=True)
    context = (x * mask.flatten(1).softmax(1).reshape(mask.shape)).sum((2, 3), keepdim=True)
    name, width = "decode_head.gc_block.channel_add_conv", WIDTH // 4
    hidden = conv(state, f"{name}.0", context, width, bias=True)
    scale, bias = state.positive(f"{name}.1.weight", width, 1, 1), state.offset(f"{name}.1.bias", width, 1, 1)
    hidden = F.layer_norm(hidden, (width, 1, 1), scale, bias).relu()
    return x + conv(state, f"{name}.3", hidden, WIDTH, bias=True)


def disentangled(state, x):
    """The block of DNLHead."""
    name, width = "decode_head.dnl_block", WIDTH // 2
    query, key, value = (
        conv(state, f"{name}.{part}.conv", x, width, bias=True).flatten(2) for part in ("theta", "phi", "g")
    )
    query, key = query - query.mean(2, keepdim=True), key - key.mean(2, keepdim=True)
    weights = (query.transpose(1, 2) @ key / width**0.5 / 0.05).softmax(2)
    pairs = (value @ weights.transpose(1, 2)).reshape(len(x), width, *x.shape[2:])
    mask = conv(state, f"{name}.conv_mask", x, 1, bias=True).flatten(2).softmax(2)
    gathered = pairs + (value * mask).sum(2)[:, :, None, None]
    return x + norm(state, f"{name}.conv_out.bn", conv(state, f"{name}.conv_out.conv", gathered, WIDTH))


def non_local(state, x):
    """The block of NLHead."""
    name, width = "decode_head.nl_block", WIDTH // 2
    query, key, value = (
        conv(state, f"{name}.{part}.conv", x, width, bias=True).flatten(2) for part in ("theta", "phi", "g")
    )
    weights = (query.transpose(1, 2) @ key / width**0.5).softmax(2)
    gathered = (value @ weights.transpose(1, 2)).reshape(len(x), width, *x.shape[2:])
    return x + norm(state, f"{name}.conv_out.bn", conv(state, f"{name}.conv_out.conv", gathered, WIDTH))


def psp(state, image, classes):
    """PSPHead, with aligned corners nowhere."""

    def head(state, x):
        parts = [x]
        for index, side in enumerate((1, 2, 3, 6)):
            pooled = layer(state, f"decode_head.psp_modules.{index}.1", F.adaptive_avg_pool2d(x, side), WIDTH)
            parts.append(resized(pooled, x))
        return layer(state, "decode_head.bottleneck", torch.cat(parts, 1), WIDTH, 3)

    return model(state, image, classes, head)


def ema(state, image, classes):
    """EMAHead."""

    def head(state, x):
        before = layer(state, "decode_head.ema_in_conv", x, WIDTH, 3)
        features = conv(state, "decode_head.ema_mid_conv.conv", before, WIDTH, bias=True).flatten(2)
        bases = state.weight("decode_head.ema_module.bases", 1, WIDTH, 7)
        for _ in range(3):
            weights = (features.transpose(1, 2) @ bases).softmax(2)
            bases = F.normalize(features @ (weights / weights.sum(1, keepdim=True)), dim=1)
        rebuilt = (bases @ weights.transpose(1, 2)).reshape(before.shape).relu()
        rebuilt = conv(state, "decode_head.ema_out_conv.conv", rebuilt, WIDTH)
        out = (before + norm(state, "decode_head.ema_out_conv.bn", rebuilt)).relu()
        out = layer(state, "decode_head.bottleneck", out, WIDTH // 2, 3)
        return layer(state, "decode_head.conv_cat", torch.cat([x, out], 1), WIDTH // 2, 3)

    return model(state, image, classes, head)


def ocr(state, image, classes):
    """OCRHead after an FCNHead on stage 3, in OpenMMLab's cascade."""
    stages = resnet(state, "backbone.", (image - MEAN) / STD, stem="openmmlab", dilations=contracted)
    coarse = small_classifier(state, "decode_head.0", stages[2], classes)
    x = layer(state, "decode_head.1.bottleneck", stages[3], WIDTH, 3)
    regions = x.flatten(2) @ coarse.flatten(2).softmax(2).transpose(1, 2)
    name, width = "decode_head.1.object_context_block", WIDTH // 2
    query, key = (
        layer(state, f"{name}.{part}_project.1", layer(state, f"{name}.{part}_project.0", source, width), width)
        for part, source in (("query", x), ("key", regions[..., None]))
    )
    value = layer(state, f"{name}.value_project", regions[..., None], width).flatten(2)
    weights = (query.flatten(2).transpose(1, 2) @ key.flatten(2) / width**0.5).softmax(2)
    context = (value @ weights.transpose(1, 2)).reshape(query.shape)
    context = layer(state, f"{name}.out_project", context, WIDTH)
    out = layer(state, f"{name}.bottleneck", torch.cat([context, x], 1), WIDTH)
    logits = {"logits": conv(state, "decode_head.1.conv_seg", out, classes, bias=True), "coarse": coarse}
    return {key: resized(value, image) for key, value in logits.items()}
