"""Layers as sums over kernel taps and positions, one image at a time."""

import torch
from torch import Tensor


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, groups: int = 1, dilation: int = 1) -> Tensor:
    """Convolution of one image (C, H, W) with zero padding that keeps its size."""
    channels, height, width = x.shape
    out_channels, in_group, side_h, side_w = weight.shape
    dense = weight.new_zeros(out_channels, channels, side_h, side_w)
    out_group = out_channels // groups
    for group in range(groups):
        outs, ins = slice(group * out_group, (group + 1) * out_group), slice(group * in_group, (group + 1) * in_group)
        dense[outs, ins] = weight[outs]
    rows = []
    for row in range(height):
        line = []
        for column in range(width):
            total = x.new_zeros(out_channels) if bias is None else bias
            for tap_h in range(side_h):
                for tap_w in range(side_w):
                    r, c = row + (tap_h - side_h // 2) * dilation, column + (tap_w - side_w // 2) * dilation
                    if 0 <= r < height and 0 <= c < width:
                        total = total + dense[:, :, tap_h, tap_w] @ x[:, r, c]
            line.append(total)
        rows.append(torch.stack(line, dim=1))
    return torch.stack(rows, dim=1)


def conv1d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, groups: int = 1) -> Tensor:
    """Convolution of one line (C, N) with zero padding that keeps its length."""
    return conv2d(x[:, None], weight[:, :, None], bias, groups=groups)[:, 0]


def batch_norm(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """Batch norm of one image (C, ...) in evaluation mode."""
    channels = []
    for channel in range(len(x)):
        mean, variance = weights[f"{name}.running_mean"][channel], weights[f"{name}.running_var"][channel]
        scale, shift = weights[f"{name}.weight"][channel], weights[f"{name}.bias"][channel]
        channels.append((x[channel] - mean) / (variance + 1e-5).sqrt() * scale + shift)
    return torch.stack(channels)


def group_norm(x: Tensor, groups: int, weight: Tensor, bias: Tensor) -> Tensor:
    """Group norm of one image (C, ...)."""
    size = len(x) // groups
    channels = []
    for channel in range(len(x)):
        start = channel // size * size
        members = x[start : start + size]
        mean = members.sum() / members.numel()
        variance = ((members - mean) ** 2).sum() / members.numel()
        channels.append((x[channel] - mean) / (variance + 1e-5).sqrt() * weight[channel] + bias[channel])
    return torch.stack(channels)


def softmax(x: Tensor) -> Tensor:
    """Softmax of a vector."""
    exponentials = (x - x.max().detach()).exp()
    return exponentials / exponentials.sum()


def sigmoid(x: Tensor) -> Tensor:
    """The logistic function."""
    return 1 / (1 + (-x).exp())
