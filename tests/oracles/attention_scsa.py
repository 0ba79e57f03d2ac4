"""SCSA and its halves, one image at a time."""

import torch
from torch import Tensor

from tests.oracles.attention_dot_product import part
from tests.oracles.attention_gates import Weights, by_channel, by_lines
from tests.oracles.attention_layers import conv1d, group_norm, sigmoid, softmax


def smsa(image: Tensor, weights: Weights, *, gate: str = "sigmoid") -> Tensor:
    """The spatial half with four kernel sizes."""

    def gates(line: Tensor, norm: str) -> Tensor:
        parts = [
            conv1d(members, weights[f"convs.{index}.weight"], weights[f"convs.{index}.bias"], groups=len(members))
            for index, members in enumerate(line.chunk(4))
        ]
        normed = group_norm(torch.cat(parts), 4, weights[f"{norm}.weight"], weights[f"{norm}.bias"])
        return sigmoid(normed) if gate == "sigmoid" else torch.stack([softmax(channel) for channel in normed])

    return by_lines(image, gates(image.mean(dim=2), "norm_h"), gates(image.mean(dim=1), "norm_w"))


def pcsa(
    image: Tensor,
    weights: Weights,
    *,
    heads: int = 1,
    window: int | None = 7,
    pooling: str = "average",
    gate: str = "sigmoid",
) -> Tensor:
    """The channel half, for maps at least as large as the window."""
    channels, height, width = image.shape
    side_h, side_w = (height, width) if window is None else (window, window)
    rows = []
    for row in range(height // side_h):
        line = []
        for column in range(width // side_w):
            patch = image[:, row * side_h : (row + 1) * side_h, column * side_w : (column + 1) * side_w]
            if pooling == "recombination":
                line.append(weights["recombine.weight"].flatten(1) @ patch.flatten())
            elif pooling == "max":
                line.append(torch.stack([channel.max() for channel in patch]))
            else:
                line.append(torch.stack([channel.sum() / channel.numel() for channel in patch]))
        rows.append(torch.stack(line, dim=1))
    normed = group_norm(torch.stack(rows, dim=1), 1, weights["norm.weight"], weights["norm.bias"])

    def project(name: str) -> Tensor:
        projected = [w * channel for w, channel in zip(weights[f"{name}.weight"].flatten(), normed, strict=True)]
        if f"{name}.bias" in weights:
            projected = [p + b for p, b in zip(projected, weights[f"{name}.bias"], strict=True)]
        return torch.stack(projected).flatten(1)

    query, key, value = project("query"), project("key"), project("value")
    size = channels // heads
    logits = []
    for channel in range(channels):
        head = range(channel // size * size, channel // size * size + size)
        shares = softmax(torch.stack([(query[channel] * key[other]).sum() for other in head]) * size**-0.5)
        attended = sum(share * value[other] for share, other in zip(shares, head, strict=True))
        logits.append(attended.sum() / attended.numel())
    gates = torch.stack(logits)
    return by_channel(image, sigmoid(gates) if gate == "sigmoid" else softmax(gates))


def scsa(image: Tensor, weights: Weights, *, window: int = 7) -> Tensor:
    """Both halves."""
    return pcsa(smsa(image, part(weights, "spatial")), part(weights, "channel"), window=window)
