"""Dot-product attention without a scale, softmax(Q Kᵀ) V: what position and fully attentional blocks compute.

Position attention has one group of H*W tokens. The fully attentional block has one group for every column (and one
for every row) whose tokens are the channels, and one key shared by all of them. Neither map of token pairs needs to
exist:

- On the CPU, :func:`attention_blocked` goes through blocks of whole groups, or of queries of one group, takes the
  softmax inside the block, and in the backward pass computes each block again from query and key, which costs one
  more product of query and key. torch's own fused CPU kernel does not take these shapes (value wider
  than the query) or, for the fully attentional block, is several times slower than plain products.
- On CUDA, :func:`attention_by_kernel` calls ``scaled_dot_product_attention`` in shapes that its kernels take.
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

Implementation = Literal["fused", "plain"]

BLOCK_ELEMENTS = 2**22
"""Elements of the map that exist at a time on the CPU: 16 MiB in single precision, about what a shared cache holds."""


def attention_plain(
    query: Float[Tensor, "b g n d"], key: Float[Tensor, "b #g n d"], value: Float[Tensor, "b g n e"]
) -> Float[Tensor, "b g n e"]:
    """The definition, written out; it builds the map of all b*g*n*n pairs.

    Args:
        query: what each of the n tokens of a group looks for.
        key: what each token answers to, for every group, or one for all groups.
        value: what each token brings.

    Returns:
        For every token, the mean of the group's values weighted by the softmax of query . key.
    """
    return (query @ key.mT).softmax(dim=-1) @ value


def dot_product_attention(
    query: Float[Tensor, "b g n d"],
    key: Float[Tensor, "b #g n d"],
    value: Float[Tensor, "b g n e"],
    *,
    implementation: Implementation,
) -> Float[Tensor, "b g n e"]:
    """Attention by the chosen implementation; arguments and result as in :func:`attention_plain`."""
    # An exported graph must run where this package is not installed, so it gets the definition: the runtime of the
    # graph fuses it if it can, and a loop over blocks would fix the size of the map.
    if implementation == "plain" or torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return attention_plain(query, key, value)
    if query.is_cuda and query.dtype != torch.float64:  # no kernel takes double precision
        return attention_by_kernel(query, key, value)
    device = query.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        query, key, value = (part.to(dtype) for part in (query, key, value))
    attended: Tensor = attention_blocked(query, key, value)
    return attended


def attention_by_kernel(
    query: Float[Tensor, "b g n d"], key: Float[Tensor, "b #g n d"], value: Float[Tensor, "b g n e"]
) -> Float[Tensor, "b g n e"]:
    """Attention by torch's fused kernels, in shapes for which torch does not fall back to the whole map.

    The flash kernels (half precision) want query and value equally wide, at most 256: a value that is a multiple of
    the query's width becomes that many heads with one query. The memory-efficient kernels (also single precision)
    take any two widths that are multiples of 16 bytes: zeros fill up what is missing, which changes no product.
    Widths above 256 and widths that do not divide each other go to the memory-efficient kernels in either precision.

    Args:
        query: as in :func:`attention_plain`.
        key: as in :func:`attention_plain`.
        value: as in :func:`attention_plain`.

    Returns:
        As :func:`attention_plain`.
    """
    width = value.shape[-1]
    query, key, value = (F.pad(part, (0, -part.shape[-1] % 8)) for part in (query, key, value))
    groups, heads = query.shape[1], 1
    if query.dtype != torch.float32 and value.shape[-1] % query.shape[-1] == 0:
        heads = value.shape[-1] // query.shape[-1]
    value = rearrange(value, "b g n (heads e) -> b (g heads) n e", heads=heads)
    query = query.repeat_interleave(heads, dim=1) if heads > 1 else query
    key = key.expand(-1, groups, -1, -1)
    key = key.repeat_interleave(heads, dim=1) if heads > 1 else key
    attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return rearrange(attended, "b (g heads) n e -> b g n (heads e)", heads=heads)[..., :width]


@torch.library.custom_op("segattn::attention_blocked", mutates_args=())
def attention_blocked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with at most :data:`BLOCK_ELEMENTS` elements of the map at a time; as :func:`attention_plain`.

    An operator of its own, so that torch.compile keeps the loop as one step instead of unrolling it for every size.
    """
    attended = torch.empty_like(value)
    with torch.autocast(query.device.type, enabled=False):
        for image, groups, queries in _blocks(query):
            weights = _block_weights(query[image, groups, queries], _of_groups(key, image, groups))
            torch.bmm(weights, value[image, groups], out=attended[image, groups, queries])
    return attended


@torch.library.custom_op("segattn::attention_blocked_backward", mutates_args=())
def _attention_blocked_backward(  # noqa: PLR0917  (an operator takes tensors by position)
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, attended: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_query, grad_key, grad_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
    with torch.autocast(query.device.type, enabled=False):
        for image, groups, queries in _blocks(query):
            q, k, v = query[image, groups, queries], _of_groups(key, image, groups), value[image, groups]
            g = gradient[image, groups, queries]
            weights = _block_weights(q, k)
            grad_value[image, groups].baddbmm_(weights.mT, g)
            # Softmax backward: weights * (grad_weights - sum of grad_weights * weights), where the sum over tokens is
            # that of gradient * output over features.
            inner = (g * attended[image, groups, queries]).sum(dim=-1, keepdim=True)
            grad_energy = torch.baddbmm(inner.neg_(), g, v.mT).mul_(weights)
            torch.bmm(grad_energy, k.expand(len(q), -1, -1), out=grad_query[image, groups, queries])
            part = _of_groups(grad_key, image, groups)
            part += (grad_energy.mT @ q).sum_to_size(part.shape)
    return grad_query, grad_key, grad_value


def _blocks(query: Tensor) -> Iterator[tuple[int, slice, slice]]:
    """The image, groups and queries of each block: whole groups where they fit, else queries of one group."""
    images, groups, tokens = query.shape[:3]
    group_step = max(1, BLOCK_ELEMENTS // tokens**2)
    query_step = max(1, BLOCK_ELEMENTS // tokens)
    for image in range(images):
        for group in range(0, groups, group_step):
            for first in range(0, tokens, query_step):
                yield image, slice(group, group + group_step), slice(first, first + query_step)


def _of_groups(key: Tensor, image: int, groups: slice) -> Tensor:
    """The keys of some groups, or the one that all groups share."""
    return key[image] if key.shape[1] == 1 else key[image, groups]


def _block_weights(query: Tensor, key: Tensor) -> Tensor:
    """The rows of the map that belong to a block."""
    return torch.matmul(query, key.mT).softmax(dim=-1)


@attention_blocked.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.empty_like(value)


@_attention_blocked_backward.register_fake
def _(  # noqa: PLR0917
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, attended: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = _attention_blocked_backward(gradient, *ctx.saved_tensors)
    return gradients


attention_blocked.register_autograd(_backward, setup_context=_keep_for_backward)


@register_flop_formula(torch.ops.segattn.attention_blocked)
def _forward_flops(query: torch.Size, key: torch.Size, value: torch.Size, **_: Any) -> int:
    b, g, n, d = query
    return 2 * b * g * n * n * (d + value[-1])


@register_flop_formula(torch.ops.segattn.attention_blocked_backward)
def _backward_flops(
    gradient: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any
) -> int:
    b, g, n, d = query
    return 2 * b * g * n * n * (3 * d + 2 * value[-1])
