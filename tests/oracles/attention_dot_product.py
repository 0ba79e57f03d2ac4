"""Position, criss-cross and channel attention and the fully attentional block, one query at a time."""

import torch
from torch import Tensor

from tests.oracles.attention_gates import weighted_mean
from tests.oracles.attention_layers import batch_norm, conv2d, softmax


def position(image: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Position attention on one image."""
    query, key, value = (conv2d(image, weights[f"{n}.weight"], weights[f"{n}.bias"]) for n in ("query", "key", "value"))
    channels, height, width = image.shape
    places = [(row, column) for row in range(height) for column in range(width)]
    output = torch.zeros_like(image)
    for row, column in places:
        energies = torch.stack([query[:, row, column] @ key[:, r, c] for r, c in places])
        attended = sum(
            (w * value[:, r, c] for w, (r, c) in zip(softmax(energies), places, strict=True)),
            start=torch.zeros(channels, dtype=image.dtype),
        )
        output[:, row, column] = weights["gamma"] * attended + image[:, row, column]
    return output


def criss_cross(image: Tensor, weights: dict[str, Tensor], *, recurrence: int = 2) -> Tensor:
    """Criss-cross attention on one image."""
    channels, height, width = image.shape
    for _ in range(recurrence):
        query, key, value = (
            conv2d(image, weights[f"{n}.weight"], weights[f"{n}.bias"]) for n in ("query", "key", "value")
        )
        output = torch.zeros_like(image)
        for row in range(height):
            for column in range(width):
                places = [(r, column) for r in range(height) if r != row] + [(row, c) for c in range(width)]
                energies = torch.stack([query[:, row, column] @ key[:, r, c] for r, c in places])
                attended = torch.zeros(channels, dtype=image.dtype)
                for weight, (r, c) in zip(softmax(energies), places, strict=True):
                    attended = attended + weight * value[:, r, c]
                output[:, row, column] = weights["gamma"] * attended + image[:, row, column]
        image = output
    return image


def channel(image: Tensor, weights: dict[str, Tensor], *, form: str = "released") -> Tensor:
    """Channel attention on one image."""
    channels = []
    for mine in image:
        energies = torch.stack([(mine * other).sum() for other in image])
        shares = softmax(energies.max() - energies if form == "released" else energies)
        attended = sum((share * other for share, other in zip(shares, image, strict=True)), torch.zeros_like(mine))
        channels.append(weights["gamma"] * attended + mine)
    return torch.stack(channels)


def part(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of one submodule, without its prefix."""
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def dual(image: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Position plus channel attention on one image."""
    return position(image, part(weights, "position")) + channel(image, part(weights, "channel"))


def channel_position(image: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Channel attention, then position attention, on one image."""
    return position(channel(image, part(weights, "channel")), part(weights, "position"))


def disentangled(image: Tensor, weights: dict[str, Tensor], *, temperature: float = 0.05) -> Tensor:
    """The disentangled non-local block on one image."""
    query, key, value = (
        conv2d(image, weights[f"{n}.weight"], weights.get(f"{n}.bias")) for n in ("query", "key", "value")
    )
    context = weighted_mean(value, conv2d(image, weights["mask.weight"])[0])
    height, width = image.shape[1:]
    places = [(row, column) for row in range(height) for column in range(width)]
    mean_query, mean_key = (sum(part[:, r, c] for r, c in places) / len(places) for part in (query, key))
    output = torch.zeros_like(value)
    for row, column in places:
        mine = query[:, row, column] - mean_query
        energies = torch.stack([mine @ (key[:, r, c] - mean_key) for r, c in places])
        shares = softmax(energies / temperature / len(value) ** 0.5)
        output[:, row, column] = sum((s * value[:, r, c] for s, (r, c) in zip(shares, places, strict=True)), context)
    return image + batch_norm(conv2d(output, weights["out.0.weight"]), weights, "out.1")


def non_local(image: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The non-local block on one image."""
    query, key, value = (
        conv2d(image, weights[f"{n}.weight"], weights.get(f"{n}.bias")) for n in ("query", "key", "value")
    )
    places = [(row, column) for row in range(image.shape[1]) for column in range(image.shape[2])]
    gathered = torch.zeros_like(value)
    for row, column in places:
        energies = torch.stack([query[:, row, column] @ key[:, r, c] for r, c in places])
        for share, (r, c) in zip(softmax(energies / len(value) ** 0.5), places, strict=True):
            gathered[:, row, column] += share * value[:, r, c]
    return image + batch_norm(conv2d(gathered, weights["out.0.weight"]), weights, "out.1")


def fully_attentional(image: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The fully attentional block on one image, one column, one row and one channel at a time."""
    height, width = image.shape[1:]

    def encode(name: str, means: list[Tensor]) -> list[Tensor]:
        return [weights[f"{name}.weight"] @ mean + weights[f"{name}.bias"] for mean in means]

    of_rows = encode("column_encoding", [image[:, row].sum(dim=1) / width for row in range(height)])
    of_columns = encode("row_encoding", [image[:, :, column].sum(dim=1) / height for column in range(width)])

    def attend(line: Tensor, key: Tensor) -> Tensor:
        rows = []
        for mine in line:
            shares = softmax(torch.stack([(mine * other).sum() for other in key]))
            rows.append(sum((share * other for share, other in zip(shares, line, strict=True)), torch.zeros_like(mine)))
        return torch.stack(rows)

    by_column = torch.stack([attend(image[:, :, c], torch.stack(of_rows, dim=1)) for c in range(width)], dim=2)
    by_row = torch.stack([attend(image[:, r], torch.stack(of_columns, dim=1)) for r in range(height)], dim=1)
    mixed = weights["gamma"] * (by_column + by_row) + image
    return batch_norm(conv2d(mixed, weights["conv.0.weight"]), weights, "conv.1").clamp(min=0)
