"""The forward passes of other repositories, restated plainly and driven by their own weights, under their names.

What they share with this project is torch alone: no library encoder, no head, no attention block.
"""

import math

import torch
from torch.nn import functional as F

BLOCKS = (3, 4, 6, 3)  # ResNet-50
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class State(dict):
    """Random weights, made when they are asked for the first time."""

    generator = torch.Generator().manual_seed(1)

    def weight(self, name, *shape):
        return self._keep(
            name, lambda: torch.randn(shape, generator=self.generator) * (2 / math.prod(shape[1:])) ** 0.5
        )

    def offset(self, name, *shape):
        return self._keep(name, lambda: torch.randn(shape, generator=self.generator) * 0.1)

    def positive(self, name, *shape, scale=1.0):
        return self._keep(name, lambda: (torch.rand(shape, generator=self.generator) + 0.5) * scale)

    def _keep(self, name, make):
        if name not in self:
            self[name] = make()
        return self[name]


def conv(state, name, x, out, size=1, *, stride=1, dilation=1, bias=False):
    weight = state.weight(f"{name}.weight", out, x.shape[1], size, size)
    offset = state.offset(f"{name}.bias", out) if bias else None
    return F.conv2d(x, weight, offset, stride, dilation * (size // 2), dilation)


def norm(state, name, x, *, scale=1.0):
    channels = x.shape[1]
    gain = state.positive(f"{name}.weight", channels, scale=scale)
    mean, bias = (state.offset(f"{name}.{key}", channels) for key in ("running_mean", "bias"))
    var = state.positive(f"{name}.running_var", channels)
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)
    return F.batch_norm(x, mean, var, gain, bias)


def bottleneck(state, name, x, width, *, stride, dilation, first):
    out = norm(state, f"{name}.bn1", conv(state, f"{name}.conv1", x, width)).relu()
    out = conv(state, f"{name}.conv2", out, width, 3, stride=stride, dilation=dilation)
    out = norm(state, f"{name}.bn2", out).relu()
    out = norm(state, f"{name}.bn3", conv(state, f"{name}.conv3", out, 4 * width), scale=0.2)
    if first:
        x = norm(state, f"{name}.downsample.1", conv(state, f"{name}.downsample.0", x, 4 * width, stride=stride))
    return (out + x).relu()


def resnet(state, prefix, x, *, stem, dilations):
    """The outputs of the four stages; ``dilations(stage, block)``."""
    if stem == "plain":
        x = norm(state, f"{prefix}bn1", conv(state, f"{prefix}conv1", x, 64, 7, stride=2)).relu()
    else:
        place, last, width = ("stem", "stem.7", 32) if stem == "openmmlab" else ("conv1", "bn1", 64)
        for index, after, out in ((0, f"{place}.1", width), (3, f"{place}.4", width), (6, last, 2 * width)):
            x = conv(state, f"{prefix}{place}.{index}", x, out, 3, stride=1 if index else 2)
            x = norm(state, f"{prefix}{after}", x).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    stages = []
    for stage, blocks in enumerate(BLOCKS, start=1):
        for block in range(blocks):
            stride = 2 if (stage, block) == (2, 0) else 1
            options = {"stride": stride, "dilation": dilations(stage, block), "first": block == 0}
            x = bottleneck(state, f"{prefix}layer{stage}.{block}", x, 32 * 2**stage, **options)
        stages.append(x)
    return stages


def contracted(stage, block):
    """The first block of a dilated stage keeps the dilation of the stage before."""
    return {3: 1 if block == 0 else 2, 4: 2 if block == 0 else 4}.get(stage, 1)


def position_attention(x, query, key, value, gamma):
    b, c, h, w = x.shape
    query, key, value = (part.reshape(b, -1, h * w) for part in (query, key, value))
    weights = (query.transpose(1, 2) @ key).softmax(-1)
    return gamma * (value @ weights.transpose(1, 2)).reshape(b, c, h, w) + x


def channel_attention(x, gamma):
    b, c, h, w = x.shape
    flat = x.reshape(b, c, h * w)
    energy = flat @ flat.transpose(1, 2)
    weights = (energy.max(-1, keepdim=True)[0] - energy).softmax(-1)
    return gamma * (weights @ flat).reshape(b, c, h, w) + x


def danet(state, image, classes, *, names, stages, align_corners, width=32):
    """Fused, position and channel logits; ``names`` maps what the paper calls a layer to its name."""

    def layer(name, x):
        convolution, normalization = names[name]
        return norm(state, normalization, conv(state, convolution, x, width, 3)).relu()

    x = stages[-1]
    before = layer("position in", x)
    parts = [
        conv(state, names[name], before, out, bias=True)
        for name, out in (("query", width // 8), ("key", width // 8), ("value", width))
    ]
    scalar = names["gamma shape"]
    gamma = state._keep(names["position gamma"], lambda: torch.full(scalar, 0.3))
    position = layer("position out", position_attention(before, *parts, gamma))
    gamma = state._keep(names["channel gamma"], lambda: torch.full(scalar, 0.4))
    channel = layer("channel out", channel_attention(layer("channel in", x), gamma))
    logits = [
        conv(state, names[name], feature, classes, bias=True)
        for name, feature in (("fused", position + channel), ("position", position), ("channel", channel))
    ]
    return [F.interpolate(out, image.shape[2:], mode="bilinear", align_corners=align_corners) for out in logits]


def small_classifier(state, name, x, classes):
    """FCNHead with one convolution, as on stage 3."""
    x = norm(state, f"{name}.convs.0.bn", conv(state, f"{name}.convs.0.conv", x, 16, 3)).relu()
    return conv(state, f"{name}.conv_seg", x, classes, bias=True)


def openmmlab(state, image, classes, *, align_corners=False):
    """DAHead on ResNetV1c-50-D8: fused, position, channel and auxiliary logits."""
    stages = resnet(state, "backbone.", (image - MEAN) / STD, stem="openmmlab", dilations=contracted)
    names = {
        f"{kind} {side}": (f"decode_head.{short}_{side}_conv.conv", f"decode_head.{short}_{side}_conv.bn")
        for kind, short in (("position", "pam"), ("channel", "cam"))
        for side in ("in", "out")
    }
    names |= {name: f"decode_head.pam.{name}_project" for name in ("query", "key", "value")}
    names |= {"position gamma": "decode_head.pam.gamma.scale", "channel gamma": "decode_head.cam.gamma.scale"}
    names |= {"gamma shape": (), "fused": "decode_head.conv_seg", "position": "decode_head.pam_conv_seg"}
    names |= {"channel": "decode_head.cam_conv_seg"}
    logits = danet(state, image, classes, names=names, stages=stages, align_corners=align_corners)
    auxiliary = small_classifier(state, "auxiliary_head", stages[2], classes)
    resized = F.interpolate(auxiliary, image.shape[2:], mode="bilinear", align_corners=align_corners)
    return dict(zip(("logits", "position", "channel", "stage3"), [*logits, resized], strict=True))


def authors_danet(state, image, classes, *, stem="deep", multi_dilation=None):
    """The authors' DANet: fused, position and channel logits."""

    def dilations(stage, block):
        if stage == 4 and multi_dilation:
            return multi_dilation[block % len(multi_dilation)]
        return contracted(stage, block)

    stages = resnet(state, "pretrained.", (image - MEAN) / STD, stem=stem, dilations=dilations)
    convs = {"position in": "conv5a", "position out": "conv51", "channel in": "conv5c", "channel out": "conv52"}
    names = {key: (f"head.{name}.0", f"head.{name}.1") for key, name in convs.items()}
    names |= {name: f"head.sa.{name}_conv" for name in ("query", "key", "value")}
    names |= {"position gamma": "head.sa.gamma", "channel gamma": "head.sc.gamma", "gamma shape": (1,)}
    names |= {"fused": "head.conv8.1", "position": "head.conv6.1", "channel": "head.conv7.1"}
    logits = danet(state, image, classes, names=names, stages=stages, align_corners=True)
    return dict(zip(("logits", "position", "channel"), logits, strict=True))


def flanet(state, image, classes, *, stem="deep", width=32):
    """The released FLANet, for one image: logits and those of stages 2 and 3."""
    dilated = {3: 2, 4: 4}
    stages = resnet(
        state, "backbone.", (image - MEAN) / STD, stem=stem, dilations=lambda stage, block: dilated.get(stage, 1)
    )
    x = norm(state, "conv.1", conv(state, "conv.0", stages[3], width, 3)).relu()
    x = norm(state, "conv.4", conv(state, "conv.3", x, width, 3)).relu()
    mixed = fully_attentional(state, x[0])
    x = norm(state, "fully.conv.1", conv(state, "fully.conv.0", mixed, width, 3)).relu()
    features = {"conv_out1": (torch.cat([stages[3], x], 1), width), "conv_out2": (stages[1], 16)}
    features |= {"conv_out3": (stages[2], 16)}
    outputs = []
    for name, (feature, middle) in features.items():
        large = feature.repeat_interleave(2, 2).repeat_interleave(2, 3)
        large = norm(state, f"{name}.conv.2", conv(state, f"{name}.conv.1", large, middle, 3)).relu()
        large = conv(state, f"{name}.conv.5", large, classes, bias=True)
        outputs.append(F.interpolate(large, image.shape[2:], mode="bilinear", align_corners=True))
    return dict(zip(("logits", "stage2", "stage3"), outputs, strict=True))


def fully_attentional(state, x):
    """Channel-to-channel attention in every column and every row of one image (c, h, w)."""
    c, h, w = x.shape
    keys = []
    for name, mean in (("conv1", x.mean(2)), ("conv2", x.mean(1))):
        weight, bias = state.weight(f"fully.{name}.weight", c, c), state.offset(f"fully.{name}.bias", c)
        keys.append(weight @ mean + bias[:, None])
    out = torch.zeros_like(x)
    for column in range(w):
        out[:, :, column] += (x[:, :, column] @ keys[0].T).softmax(-1) @ x[:, :, column]
    for row in range(h):
        out[:, row] += (x[:, row] @ keys[1].T).softmax(-1) @ x[:, row]
    gamma = state._keep("fully.gamma", lambda: torch.full((1,), 0.3))
    return (gamma * out + x)[None]
