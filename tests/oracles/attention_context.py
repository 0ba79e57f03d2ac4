"""Interlaced sparse, expectation-maximization and object-context attention, one position at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.oracles.attention_dot_product import part
from tests.oracles.attention_layers import batch_norm, conv2d, softmax

Place = tuple[int, int]


def layer(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    """Convolution, batch norm and ReLU of one image."""
    return batch_norm(conv2d(x, weights[f"{name}.0.weight"]), weights, f"{name}.1").clamp(min=0)


def attend_in_groups(x: Tensor, weights: dict[str, Tensor], group: Callable[[Place], Place]) -> Tensor:
    """Scaled dot-product attention of each position to those of its group."""
    query, key = (layer(layer(x, weights, f"{name}.0"), weights, f"{name}.1") for name in ("query", "key"))
    value = conv2d(x, weights["value.weight"], weights["value.bias"])
    places = [(row, column) for row in range(x.shape[1]) for column in range(x.shape[2])]
    output = torch.zeros_like(x)
    for row, column in places:
        others = [place for place in places if group(place) == group((row, column))]
        energies = torch.stack([query[:, row, column] @ key[:, r, c] / len(query) ** 0.5 for r, c in others])
        for weight, (r, c) in zip(softmax(energies), others, strict=True):
            output[:, row, column] = output[:, row, column] + weight * value[:, r, c]
    return layer(output, weights, "out")


def interlaced(image: Tensor, weights: dict[str, Tensor], *, window: Place) -> Tensor:
    """Interlaced sparse attention on one image."""
    channels, height, width = image.shape
    rows, columns = -height % window[0], -width % window[1]
    x = image.new_zeros(channels, height + rows, width + columns)
    inside = slice(rows // 2, rows // 2 + height), slice(columns // 2, columns // 2 + width)
    x[:, inside[0], inside[1]] = image
    x = attend_in_groups(x, part(weights, "long_range"), lambda place: (place[0] % window[0], place[1] % window[1]))
    x = attend_in_groups(x, part(weights, "short_range"), lambda place: (place[0] // window[0], place[1] // window[1]))
    return x[:, inside[0], inside[1]]


def expectation_maximization(image: Tensor, weights: dict[str, Tensor], *, iterations: int = 3) -> Tensor:
    """Expectation-maximization attention on one image, in evaluation."""
    x = conv2d(image.detach(), weights["project.weight"], weights["project.bias"])
    places = [(row, column) for row in range(x.shape[1]) for column in range(x.shape[2])]
    bases = list(weights["bases"][0].T)
    for _ in range(iterations):
        shares = [softmax(torch.stack([base @ x[:, r, c] for base in bases])) for r, c in places]
        for k in range(len(bases)):
            total = sum((share[k] * x[:, r, c] for share, (r, c) in zip(shares, places, strict=True)), x.new_zeros(()))
            bases[k] = total / sum(share[k] for share in shares)
            bases[k] = bases[k] / (bases[k] ** 2).sum().sqrt()
    reconstructed = torch.zeros_like(x)
    for share, (r, c) in zip(shares, places, strict=True):
        reconstructed[:, r, c] = sum((s * base for s, base in zip(share, bases, strict=True)), x.new_zeros(()))
    added = batch_norm(conv2d(reconstructed.clamp(min=0), weights["out.0.weight"]), weights, "out.1")
    return (image + added).clamp(min=0)


def object_context(image: Tensor, coarse: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The object context on one image (C, H, W) with coarse logits (classes, H, W)."""
    places = [(row, column) for row in range(image.shape[1]) for column in range(image.shape[2])]
    regions = []
    for logits in coarse:
        shares = softmax(torch.stack([logits[place] for place in places]))
        regions.append(sum((s * image[:, r, c] for s, (r, c) in zip(shares, places, strict=True)), image.new_zeros(())))
    stacked = torch.stack(regions, dim=1)[:, :, None]
    query, key = (
        layer(layer(x, weights, f"{name}.0"), weights, f"{name}.1") for name, x in (("query", image), ("key", stacked))
    )
    value = layer(stacked, weights, "value")
    context = torch.zeros_like(query)
    for r, c in places:
        energies = torch.stack([query[:, r, c] @ key[:, k, 0] / len(query) ** 0.5 for k in range(len(coarse))])
        for k, share in enumerate(softmax(energies)):
            context[:, r, c] = context[:, r, c] + share * value[:, k, 0]
    return layer(context, weights, "out")
