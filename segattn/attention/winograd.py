"""A 3x3 convolution with 16 instead of 36 multiplications for every four outputs.

Lavin and Gray: Fast Algorithms for Convolutional Neural Networks. CVPR 2016, https://arxiv.org/abs/1509.09308,
section 4.1, F(2x2, 3x3). Filters and overlapping 4x4 tiles of the input are transformed, every one of their 16 elements
is a matrix product over channels, and the products are transformed back. The factors of the transforms are 1 and 1/2,
so that the result is as near to the exact sum as that of the direct way: they differ by less than a millionth of the
largest output.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

TILES = 384
"""Tiles, each of 2x2 outputs, that are transformed at a time, unless a row has more."""

MIN_CHANNELS, MIN_PIXELS = 384, 64**2
"""Below either of them the transforms cost more than the multiplications that they save (measured on two cores)."""

COMBINATIONS = ((torch.sub, 0, 2), (torch.add, 1, 2), (torch.sub, 2, 1), (torch.sub, 1, 3))
"""The rows of Bᵀ: what becomes of four neighboring values."""


class Convolution3x3(nn.Conv2d):
    """A 3x3 convolution that multiplies less where it pays: on large maps in inference, in float32 on the CPU.

    Args:
        channels: of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The convolution of ``torch.nn.Conv2d``."""
        traced = torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()
        small = x.shape[1] < MIN_CHANNELS or x.shape[2] * x.shape[3] < MIN_PIXELS
        autocast = torch.is_autocast_enabled("cpu")
        folded = self.bias is not None  # a batch norm may have been folded into it
        if traced or small or autocast or folded or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        convolved: Tensor = convolve(x, self.weight)
        return convolved


# An operator of its own, so that its room counts as a kernel's own and not as tensors of the model.
@torch.library.custom_op("segattn::convolve_3x3", mutates_args=())
def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution with stride 1 and a border of zeros, without gradients.

    Args:
        x: the features (b, c, h, w).
        weight: the filters (d, c, 3, 3).

    Returns:
        What ``torch.nn.functional.conv2d(x, weight, padding=1)`` does.
    """
    batch, channels, height, width = x.shape
    tiles = -(-height // 2), -(-width // 2)
    step = max(1, TILES // tiles[1])  # rows of tiles
    result = x.new_empty(batch, len(weight), 2 * tiles[0], 2 * tiles[1])
    # One piece of memory, large enough to be given back to the system as a whole.
    sizes = [16 * size for size in (len(weight) * channels, len(weight) * step * tiles[1], channels * step * tiles[1])]
    filters, *room = torch.split(x.new_empty(sum(sizes)), sizes)
    filters = _transform_filters(weight, filters)
    for image, out in zip(x, result, strict=True):
        for top in range(0, tiles[0], step):
            rows = min(step, tiles[0] - top)
            above, below = max(1 - 2 * top, 0), max(2 * (top + rows) + 1 - height, 0)
            inside = image[:, 2 * top - 1 + above : 2 * (top + rows) + 1 - below]
            products, elements = (part[: len(part) // step * rows].view(4, 4, -1, rows, tiles[1]) for part in room)
            _transform_input(F.pad(inside, (1, 1 + width % 2, above, below)), elements)
            torch.bmm(filters, elements.flatten(0, 1).flatten(2), out=products.flatten(0, 1).flatten(2))
            _transform_output(products, out[:, 2 * top : 2 * (top + rows)])
    return result[..., :height, :width]


@convolve.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(len(x), len(weight), *x.shape[2:])


@register_flop_formula(torch.ops.segattn.convolve_3x3)
def _flops(x: torch.Size, weight: torch.Size, **_: Any) -> int:
    b, c, h, w = x
    return 2 * 16 * b * c * weight[0] * -(-h // 2) * -(-w // 2)


def _transform_filters(weight: Float[Tensor, "d c 3 3"], out: Tensor) -> Float[Tensor, "16 d c"]:
    """G w Gᵀ of the paper for every filter, written to the elements of ``out``."""
    g = weight.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    torch.mm(torch.kron(g, g), weight.flatten(2).flatten(0, 1).mT, out=out.view(16, -1))
    return out.view(16, *weight.shape[:2])


def _transform_input(image: Float[Tensor, "c h w"], out: Float[Tensor, "4 4 c rows columns"]) -> None:
    """Bᵀ d B for every tile: four combinations of its rows, and of each of those four of its columns."""
    last = image.shape[1] - 2
    halves = torch.stack((image[..., 0::2], image[..., 1::2]))  # so that tiles beside each other are so in memory
    for (combine, first, second), elements in zip(COMBINATIONS, out, strict=True):
        even, odd = combine(halves[:, :, first : last + first : 2], halves[:, :, second : last + second : 2])
        columns = even[..., :-1], odd[..., :-1], even[..., 1:], odd[..., 1:]
        for (combine_sides, left, right), element in zip(COMBINATIONS, elements, strict=True):
            combine_sides(columns[left], columns[right], out=element)


def _transform_output(m: Float[Tensor, "4 4 d rows columns"], out: Float[Tensor, "d h w"]) -> None:
    """Aᵀ m A for every tile, written to two rows and two columns."""
    a = m.new_tensor([[1, 1, 1, 0], [0, 1, -1, -1]])
    corners = torch.mm(torch.kron(a, a), m.flatten(0, 1).flatten(1))
    corners = corners.view(2, 2, *m.shape[2:])
    out.copy_(rearrange(corners, "y x d rows columns -> d (rows y) (columns x)"))
