"""Gating blocks, one image at a time."""

import math

import torch
from torch import Tensor

from tests.oracles.attention_layers import batch_norm, conv1d, conv2d, group_norm, sigmoid, softmax

Weights = dict[str, Tensor]


def mean_of(image: Tensor) -> Tensor:
    """Mean of each channel."""
    return torch.stack([channel.sum() / channel.numel() for channel in image])


def linear(vector: Tensor, weights: Weights, name: str) -> Tensor:
    """A linear layer or 1x1 convolution on a vector."""
    total = weights[f"{name}.weight"].flatten(1) @ vector
    return total + weights[f"{name}.bias"] if f"{name}.bias" in weights else total


def by_channel(image: Tensor, gates: Tensor) -> Tensor:
    """Multiply each channel by its gate."""
    return torch.stack([gate * channel for gate, channel in zip(gates, image, strict=True)])


def by_lines(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply each element by the gates of its row and of its column."""
    lines = [image[:, row] * rows[:, row, None] for row in range(image.shape[1])]
    image = torch.stack(lines, dim=1)
    return torch.stack([image[:, :, c] * columns[:, c, None] for c in range(image.shape[2])], dim=2)


def squeeze_excite(image: Tensor, weights: Weights) -> Tensor:
    hidden = linear(mean_of(image), weights, "excite.0").clamp(min=0)
    return by_channel(image, sigmoid(linear(hidden, weights, "excite.2")))


def cbam(image: Tensor, weights: Weights) -> Tensor:
    pooled = (mean_of(image), torch.stack([channel.max() for channel in image]))
    logits = sum(linear(linear(p, weights, "channel.0").clamp(min=0), weights, "channel.2") for p in pooled)
    image = by_channel(image, sigmoid(logits))
    stacked = torch.stack([image.max(dim=0).values, sum(image) / len(image)])
    return image * sigmoid(batch_norm(conv2d(stacked, weights["spatial.0.weight"]), weights, "spatial.1"))


def bam(image: Tensor, weights: Weights, *, combination: str = "product", dilation: int = 4) -> Tensor:
    hidden = batch_norm(linear(mean_of(image), weights, "channel.0"), weights, "channel.1").clamp(min=0)
    channel = linear(hidden, weights, "channel.3")
    spatial = image
    for layer, gap in ((0, 1), (1, dilation), (2, dilation)):
        name = f"spatial.{layer}"
        spatial = conv2d(spatial, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], dilation=gap)
        spatial = batch_norm(spatial, weights, f"{name}.1").clamp(min=0)
    spatial = conv2d(spatial, weights["spatial.3.weight"], weights["spatial.3.bias"])[0]
    combine = {"product": lambda c: c * spatial, "sum": lambda c: c + spatial}[combination]
    return torch.stack([x * (1 + sigmoid(combine(c))) for c, x in zip(channel, image, strict=True)])


def eca(image: Tensor, weights: Weights) -> Tensor:
    return by_channel(image, sigmoid(conv1d(mean_of(image)[None], weights["conv.weight"])[0]))


def nam(image: Tensor, weights: Weights) -> Tensor:
    scales = weights["norm.weight"].abs()
    return image * sigmoid(by_channel(batch_norm(image, weights, "norm"), scales / scales.sum()))


def sge(image: Tensor, weights: Weights, *, groups: int) -> Tensor:
    parts = []
    for group, members in enumerate(image.chunk(groups)):
        mean = mean_of(members)
        similarity = sum(m * channel for m, channel in zip(mean, members, strict=True))
        centered = similarity - similarity.sum() / similarity.numel()
        deviation = ((centered**2).sum() / (similarity.numel() - 1)).sqrt()
        scale, shift = weights["weight"][0, group, 0, 0], weights["bias"][0, group, 0, 0]
        parts.append(members * sigmoid(centered / (deviation + 1e-5) * scale + shift))
    return torch.cat(parts)


def shuffle(image: Tensor, weights: Weights, *, groups: int) -> Tensor:
    parts = []
    for members in image.chunk(groups):
        half = len(members) // 2
        first, second = members[:half], members[half:]
        scale, shift = weights["channel_weight"].flatten(), weights["channel_bias"].flatten()
        parts.append(by_channel(first, sigmoid(scale * mean_of(first) + shift)))
        normed = group_norm(second, half, weights["norm.weight"], weights["norm.bias"])
        scale, shift = weights["spatial_weight"].flatten(), weights["spatial_bias"].flatten()
        gates = [sigmoid(scale[c] * normed[c] + shift[c]) for c in range(half)]
        parts.append(second * torch.stack(gates))
    joined = torch.cat(parts)
    half = len(joined) // 2
    return torch.stack([joined[half * (place % 2) + place // 2] for place in range(len(joined))])


def coordinate(image: Tensor, weights: Weights) -> Tensor:
    def encode(line: Tensor, name: str) -> Tensor:
        gates = []
        for place in range(line.shape[1]):
            hidden = batch_norm(linear(line[:, place], weights, "encode.0"), weights, "encode.1")
            hidden = hidden * (hidden + 3).clamp(0, 6) / 6
            gates.append(sigmoid(linear(hidden, weights, name)))
        return torch.stack(gates, dim=1)

    return by_lines(image, encode(image.mean(dim=2), "rows"), encode(image.mean(dim=1), "columns"))


def ela(image: Tensor, weights: Weights, *, conv_groups: int, norm_groups: int) -> Tensor:
    def gates(line: Tensor) -> Tensor:
        mixed = conv1d(line, weights["weights.0.weight"], groups=conv_groups)
        return sigmoid(group_norm(mixed, norm_groups, weights["weights.1.weight"], weights["weights.1.bias"]))

    return by_lines(image, gates(image.mean(dim=2)), gates(image.mean(dim=1)))


def efficient_multi_scale(image: Tensor, weights: Weights, *, groups: int) -> Tensor:
    parts = []
    for members in image.chunk(groups):
        rows, columns = (
            torch.stack([linear(line[:, place], weights, "conv1x1") for place in range(line.shape[1])], dim=1)
            for line in (members.mean(dim=2), members.mean(dim=1))
        )
        gated = by_lines(members, sigmoid(rows), sigmoid(columns))
        first = group_norm(gated, len(members), weights["norm.weight"], weights["norm.bias"])
        second = conv2d(members, weights["conv3x3.weight"], weights["conv3x3.bias"])
        logits = sum(by_channel(second, softmax(mean_of(first)))) + sum(by_channel(first, softmax(mean_of(second))))
        parts.append(members * sigmoid(logits))
    return torch.cat(parts)


def cpca(image: Tensor, weights: Weights) -> Tensor:
    def mix(x: Tensor) -> Tensor:
        return conv2d(x, weights["mix.weight"], weights["mix.bias"])

    def depthwise(x: Tensor, name: str) -> Tensor:
        return conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], groups=len(x))

    mixed = mix(image)
    image = mixed * 0.5 * (1 + torch.erf(mixed / math.sqrt(2)))
    pooled = (mean_of(image), torch.stack([channel.max() for channel in image]))
    gates = [sigmoid(linear(linear(p, weights, "channel.0").clamp(min=0), weights, "channel.2")) for p in pooled]
    image = by_channel(image, gates[0] + gates[1])
    square = depthwise(image, "square")
    total = square
    for strip in range(3):
        total = total + depthwise(depthwise(square, f"strips.{strip}.0"), f"strips.{strip}.1")
    return mix(image * mix(total))


def selective_kernel(image: Tensor, weights: Weights, *, groups: int, dilations: tuple[int, ...]) -> Tensor:
    branches = []
    for branch, dilation in enumerate(dilations):
        name = f"branches.{branch}"
        mixed = conv2d(image, weights[f"{name}.0.weight"], groups=groups, dilation=dilation)
        branches.append(batch_norm(mixed, weights, f"{name}.1").clamp(min=0))
    fused = batch_norm(linear(mean_of(sum(branches)), weights, "fuse.0"), weights, "fuse.1").clamp(min=0)
    logits = linear(fused, weights, "select").chunk(len(branches))
    channels = []
    for channel in range(len(image)):
        shares = softmax(torch.stack([part[channel] for part in logits]))
        channels.append(sum(share * branch[channel] for share, branch in zip(shares, branches, strict=True)))
    return torch.stack(channels)


def weighted_mean(image: Tensor, mask: Tensor) -> Tensor:
    """The mean of all positions, weighted by the softmax of a map."""
    weights = softmax(mask.flatten())
    return sum((w * x for w, x in zip(weights, image.flatten(1).T, strict=True)), torch.zeros_like(image[:, 0, 0]))


def global_context(image: Tensor, weights: Weights) -> Tensor:
    context = weighted_mean(image, conv2d(image, weights["mask.weight"])[0])
    hidden = linear(context, weights, "transform.0")
    centered = hidden - hidden.mean()
    normalized = centered / (centered.square().mean() + 1e-5).sqrt()
    hidden = normalized * weights["transform.1.weight"].flatten() + weights["transform.1.bias"].flatten()
    return image + linear(hidden.clamp(min=0), weights, "transform.3")[:, None, None]
