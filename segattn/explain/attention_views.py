"""What each attention block did for one pixel, computed from the input and output of the block.

One pixel needs one row of the attention map, so the map of all pairs of positions is never built.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from segattn import attention
from segattn.attention import (
    PCSA,
    SMSA,
    ChannelAttention,
    CrissCrossAttention,
    DisentangledNonLocal,
    ExpectationMaximizationAttention,
    FullyAttentional,
    GlobalContext,
    InterlacedSparseAttention,
    NonLocal,
    PositionAttention,
)
from segattn.attention.global_context import spatial_weights
from segattn.attention.identity_start import IdentityStart
from segattn.heads.ocr_head import ObjectContext

STRONGEST = 8
"""Number of channels, the largest at the pixel, whose channel attention is shown."""

Pixel = tuple[int, int]
"""(row, column) in the features."""


@dataclass(frozen=True)
class View:
    """What one attention block did for the chosen pixel.

    Attributes:
        layer: name of the block in the model, such as ``head.position.1``.
        gamma: learned factor of the attention's result, if the block has one; for a block that starts as the identity,
            the mean absolute gamma of its channels. At 0 the block has no effect, whatever its maps show.
        maps: values (h, w) over the features, to draw over the image.
        rows: rows (k, channels) of channel attention for ``channels``; each sums to 1.
        bars: one value per channel, basis or region.
        channels: those with the largest values at the pixel, in descending order.
        extra: other arrays to save.
    """

    layer: str
    block: str
    pixel: Pixel
    gamma: float | None = None
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    bars: Mapping[str, np.ndarray] = field(default_factory=dict)
    channels: tuple[int, ...] = ()
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        channels = {"channels": np.array(self.channels, dtype=np.int64)} if self.channels else {}
        return {**self.maps, **self.rows, **self.bars, **self.extra, **channels}


def viewed_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """Find the attention blocks of a model by layer; of nested blocks, the innermost ones."""
    kinds = (*(getattr(attention, name) for name in attention.__all__), ObjectContext)
    found = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    return {name: block for name, block in found.items() if not any(other.startswith(f"{name}.") for other in found)}


def identity_gamma(model: nn.Module, layer: str) -> float | None:
    """The mean absolute gamma around a block that starts as the identity; None for any other block."""
    parts = layer.split(".")
    parents = (model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts)))
    gammas = [parent.gamma for parent in parents if isinstance(parent, IdentityStart)]
    return float(gammas[-1].detach().abs().mean()) if gammas else None


def view(
    layer: str,
    block: nn.Module,
    *,
    before: Float[Tensor, "c h w"],
    after: Float[Tensor, "c h w"],
    pixel: Pixel,
    gamma: float | None = None,
    others: Sequence[Float[Tensor, "_ h w"]] = (),
) -> View:
    """Compute what a block did for a pixel from its input ``before``, its ``others`` and its output ``after``.

    The factor ``gamma`` is that around the block, see :func:`identity_gamma`; None uses the block's own.
    """
    look = next((look for kind, look in _LOOKS.items() if isinstance(block, kind)), _gain)
    parts = look(block, before, after, pixel, *others)
    channels = tuple(parts.pop("channels", ()))
    arrays: dict[str, Any] = {
        kind: {name: value.float().cpu().numpy() for name, value in values.items()} for kind, values in parts.items()
    }
    if gamma is None and isinstance(own := getattr(block, "gamma", None), Tensor):
        gamma = float(own)
    return View(layer, type(block).__name__, pixel, gamma, channels=channels, **arrays)


def position_row(query: Float[Tensor, "d"], key: Float[Tensor, "d h w"]) -> Float[Tensor, "h w"]:
    """Compute the attention of one position to all positions: one row of the attention map."""
    energy = einsum(query, key, "d, d h w -> h w")
    return rearrange(rearrange(energy, "h w -> (h w)").softmax(dim=0), "(h w) -> h w", h=energy.shape[0])


def cross_row(query: Float[Tensor, "d"], key: Float[Tensor, "d h w"], pixel: Pixel) -> Float[Tensor, "h w"]:
    """Compute the criss-cross attention of one position: 0 outside its row and its column."""
    row, column = pixel
    energy = key.new_full(key.shape[1:], -torch.inf)
    energy[row] = query @ key[:, row]
    energy[:, column] = query @ key[:, :, column]
    return rearrange(rearrange(energy, "h w -> (h w)").softmax(dim=0), "(h w) -> h w", h=energy.shape[0])


def channel_rows(x: Float[Tensor, "c h w"], channels: Int64[Tensor, "k"], *, softmax: str) -> Float[Tensor, "k c"]:
    """Compute some rows of the channel attention map of :class:`segattn.attention.ChannelAttention`."""
    flat = rearrange(x, "c h w -> c (h w)")
    energy = flat[channels] @ flat.mT
    return (-energy if softmax == "released" else energy).softmax(dim=-1)


def _strongest(x: Tensor, pixel: Pixel) -> Tensor:
    at_pixel = x[:, pixel[0], pixel[1]].abs()
    return at_pixel.topk(min(STRONGEST, len(at_pixel))).indices


def _gathering(x: Tensor, channels: Tensor, gathered: Tensor) -> dict[str, Any]:
    """The map of the first of the channels, and what it gathers from the others."""
    first = int(channels[0])
    maps = {f"channel {first}": x[first], f"channel {first} gathers": gathered}
    return {"maps": maps, "channels": channels.tolist()}


def _position(block: PositionAttention, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    query, key = block.query(x[None])[0], block.key(x[None])[0]
    return {"maps": {"attends to": position_row(query[:, pixel[0], pixel[1]], key)}}


def _non_local(block: NonLocal, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    query, key = (part[0] for part in block.query_and_key(x[None]))
    return {"maps": {"attends to": position_row(query[:, pixel[0], pixel[1]], key)}}


def _criss_cross(block: CrissCrossAttention, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    maps = {}
    for number in range(1, block.recurrence + 1):
        query, key = block.query(x[None])[0], block.key(x[None])[0]
        maps[f"attends to, pass {number}"] = cross_row(query[:, pixel[0], pixel[1]], key, pixel)
        x = block.one_pass(x[None])[0]
    return {"maps": maps}


def _channel(block: ChannelAttention, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    channels = _strongest(x, pixel)
    rows = channel_rows(x, channels, softmax=block.softmax)
    gathered = einsum(rows[0], x, "c, c h w -> h w")
    return _gathering(x, channels, gathered) | {"rows": {"channel attention": rows}}


def _fully_attentional(block: FullyAttentional, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    column, row = x[:, :, pixel[1]], x[:, pixel[0], :]
    column_key = block.column_encoding(x.mean(dim=2).mT).mT
    row_key = block.row_encoding(x.mean(dim=1).mT).mT
    of_column, of_row = (column @ column_key.mT).softmax(dim=-1), (row @ row_key.mT).softmax(dim=-1)
    channels = _strongest(x, pixel)
    first = int(channels[0])
    gathered = torch.full_like(x[0], torch.nan)
    gathered[:, pixel[1]] = of_column[first] @ column
    gathered[pixel[0], :] = of_row[first] @ row
    gathered[pixel] = of_column[first] @ column[:, pixel[0]] + of_row[first] @ row[:, pixel[1]]
    return _gathering(x, channels, gathered) | {
        "rows": {"in its column": of_column[channels], "in its row": of_row[channels]},
        "extra": {"attention in the column": of_column, "attention in the row": of_row},
    }


def _expectation_maximization(
    block: ExpectationMaximizationAttention, x: Tensor, after: Tensor, pixel: Pixel
) -> dict[str, Any]:
    weights = rearrange(block.estimate(x[None])[0], "1 (h w) k -> k h w", h=x.shape[1])
    mine = weights[:, pixel[0], pixel[1]]
    strongest = int(mine.argmax())
    attention_map = einsum(mine / weights.sum(dim=(1, 2)), weights, "k, k h w -> h w")
    return {
        "maps": {"attends to": attention_map, f"basis {strongest}": weights[strongest]},
        "bars": {"weights of the bases": mine},
    }


def _object_context(block: ObjectContext, x: Tensor, after: Tensor, pixel: Pixel, *others: Tensor) -> dict[str, Any]:
    (coarse,) = others
    weights = block.relation(x[None], block.regions(x[None], coarse[None]))
    mine = rearrange(weights, "1 (h w) k -> h w k", h=x.shape[1])[pixel]
    shares = rearrange(rearrange(coarse, "k h w -> k (h w)").softmax(dim=1), "k (h w) -> k h w", h=x.shape[1])
    strongest = int(mine.argmax())
    return {
        "maps": {
            "attends to": einsum(mine, shares, "k, k h w -> h w"),
            f"region of class {strongest}": shares[strongest],
        },
        "bars": {"weights of the regions": mine},
    }


def _interlaced(block: InterlacedSparseAttention, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    sides, margins = block.windows(x[None])
    padded = F.pad(x[None], margins)
    (i, row), (j, column) = divmod(pixel[0] + margins[2], sides["p"]), divmod(pixel[1] + margins[0], sides["q"])

    def in_windows(part: nn.Module, features: Tensor) -> Tensor:
        windows: Tensor = rearrange(part(features)[0], "d (m p) (n q) -> d m n p q", **sides)
        return windows

    # The pixel attends to the positions of its window, and each of them to those with its place in every window.
    long, short = block.long_range, block.short_range
    middle = long(padded, sides)
    in_window = position_row(
        in_windows(short.query, middle)[:, i, j, row, column] * short.scale, in_windows(short.key, middle)[:, i, j]
    )
    query, key = in_windows(long.query, padded)[:, i, j] * long.scale, in_windows(long.key, padded)
    energy = rearrange(einsum(query, key, "d p q, d m n p q -> p q m n"), "p q m n -> p q (m n)")
    weights = rearrange(energy.softmax(dim=-1), "p q (m n) -> p q m n", m=sides["m"]) * in_window[:, :, None, None]
    attention_map = F.pad(rearrange(weights, "p q m n -> (m p) (n q)"), [-margin for margin in margins])
    return {"maps": {"attends to": attention_map}}


def _disentangled(block: DisentangledNonLocal, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    query, key = (part[0] for part in block.query_and_key(x[None]))
    pairs = position_row(query[:, pixel[0], pixel[1]], key)
    return {"maps": {"attends to": pairs, "context": spatial_weights(block.mask(x[None]))[0, 0]}}


def _global_context(block: GlobalContext, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    context = spatial_weights(block.mask(x[None]))[0, 0]
    return {"maps": {"context": context}, "bars": {"added to channels": (after - x)[:, pixel[0], pixel[1]]}}


def _spatial_gates(block: SMSA, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    gates: list[Tensor] = []
    with ExitStack() as hooks:
        for norm in (block.norm_h, block.norm_w):
            hooks.enter_context(norm.register_forward_hook(lambda _, inputs, output: gates.append(output[0])))
        block(x[None])
    rows, columns = (gate.sigmoid() if block.gate == "sigmoid" else gate.softmax(dim=1) for gate in gates)
    product = rearrange(rows, "c h -> c h 1") * rearrange(columns, "c w -> c 1 w")
    sizes = [conv.kernel_size[0] for conv in block.convs if isinstance(conv, nn.Conv1d)]
    groups = {f"gate, kernel {n}": part.mean(dim=0) for n, part in zip(sizes, product.chunk(len(sizes)), strict=True)}
    return {
        "maps": {"spatial gate": product.mean(dim=0), **groups},
        "extra": {"gates of rows": rows, "gates of columns": columns},
    }


def _channel_weights(block: PCSA, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    # The block multiplies each channel by one number, unknown (nan) for a channel that is zero everywhere.
    weights = (after * x).sum(dim=(1, 2)) / (x * x).sum(dim=(1, 2))
    return {"bars": {"channel weights": weights}}


def _gain(block: nn.Module, x: Tensor, after: Tensor, pixel: Pixel) -> dict[str, Any]:
    """For all other blocks: the ratio of the features' norms after and before, by position and by channel."""

    def ratio(dim: int | tuple[int, int]) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=dim)
        gain: Tensor = torch.linalg.vector_norm(after, dim=dim) / length.where(length > 0, torch.nan)
        return gain

    return {"maps": {"gain": ratio(0)}, "bars": {"gain of channels": ratio((1, 2))}}


_LOOKS: dict[type[nn.Module], Callable[..., dict[str, Any]]] = {
    CrissCrossAttention: _criss_cross,  # before its base class
    ExpectationMaximizationAttention: _expectation_maximization,
    InterlacedSparseAttention: _interlaced,
    NonLocal: _non_local,
    PositionAttention: _position,
    ChannelAttention: _channel,
    FullyAttentional: _fully_attentional,
    DisentangledNonLocal: _disentangled,
    GlobalContext: _global_context,
    ObjectContext: _object_context,
    SMSA: _spatial_gates,
    PCSA: _channel_weights,
}
