"""Dot-product attention without scaling, softmax(Q Kᵀ) V, as in position attention and the fully attentional block.

Position attention has one group of H*W tokens. The fully attentional block has one group per column (and one per row),
whose tokens are the channels, and one key that all groups share. The map of token pairs need not be stored:

- On the CPU, :func:`attend` works on blocks: several groups, or some queries of one group. It takes the softmax inside
  the block. For the gradients, :func:`add_gradients` recomputes each block, which costs one more product of query and
  key. The fused CPU kernel of torch does not support a value wider than the query, and for the fully attentional block
  it is several times slower than plain products.
- On CUDA, :func:`attention_by_kernel` calls ``scaled_dot_product_attention`` with shapes that its kernels support.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

Implementation = Literal["fused", "plain"]

GROUP_ELEMENTS = 2**20
"""Largest block of several groups on the CPU, in elements of the map: 4 MiB in single precision."""

QUERY_ELEMENTS = 2**23
"""Largest block inside one group, in elements of the map: 32 MiB. Few large products are faster than many small."""


def attention_plain(
    query: Float[Tensor, "b g n d"], key: Float[Tensor, "b #g n d"], value: Float[Tensor, "b g n e"]
) -> Float[Tensor, "b g n e"]:
    """For each of n tokens, the mean of the values of its group, weighted by the softmax of query . key.

    All groups may share one key. This is the definition; it builds the map of all b*g*n*n pairs.
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
    # An exported graph must run without this package, so it gets the definition. Its runtime may fuse it, and a loop
    # over blocks would fix the size of the map.
    if implementation == "plain" or torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return attention_plain(query, key, value)
    if query.is_cuda and query.dtype != torch.float64:  # no kernel supports double precision
        return attention_by_kernel(query, key, value)
    attended: Tensor = attention_blocked(*as_autocast(query, key, value))
    return attended


def as_autocast(*inputs: Tensor) -> tuple[Tensor, ...]:
    """Cast the inputs as autocast does for a matrix product, because it does not know custom operators."""
    if inputs[0].dtype == torch.float64 or not is_autocast(inputs[0]):
        return inputs  # autocast does not change double precision
    return tuple(part.to(torch.get_autocast_dtype(part.device.type)) for part in inputs)


def is_autocast(tensor: Tensor) -> bool:
    """Whether operations on this tensor run under autocast, which some devices, such as ``meta``, do not have."""
    device = tensor.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def attention_by_kernel(
    query: Float[Tensor, "b g n d"], key: Float[Tensor, "b #g n d"], value: Float[Tensor, "b g n e"]
) -> Float[Tensor, "b g n e"]:
    """Attention by the fused kernels of torch, with shapes for which torch does not build the map.

    Arguments and result as in :func:`attention_plain`. The conditions are those of ``sdp_utils.cpp`` in torch 2.8 to
    2.15:

    - All kernels need features that are dense in memory.
    - The memory-efficient kernels (half and single precision) support any two widths that are multiples of 16 bytes, so
      the widths are padded with zeros, which change no product.
    - The flash kernels (half precision) need query and value of the same width, at most 256. The value of a single
      group is therefore split into heads as wide as the query, which all share query and key.
    """
    width = value.shape[-1]
    query, key, value = (F.pad(part, (0, -part.shape[-1] % 8)).contiguous() for part in (query, key, value))
    heads = groups = query.shape[1]
    if groups == 1 and query.dtype != torch.float32 and value.shape[-1] % query.shape[-1] == 0:
        heads = value.shape[-1] // query.shape[-1]
        value = rearrange(value, "b 1 n (heads e) -> b heads n e", heads=heads)
    query, key = (part.expand(-1, heads, -1, -1) for part in (query, key))
    attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    attended = rearrange(attended, "b (g heads) n e -> b g n (heads e)", g=groups)
    return attended[..., :width]


# Custom operators, so that torch.compile keeps each loop as one step instead of unrolling it for every size.


@torch.library.custom_op("segattn::attention_blocked", mutates_args=())
def attention_blocked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention in blocks of at most :data:`GROUP_ELEMENTS` or :data:`QUERY_ELEMENTS` elements of the map.

    Arguments and result as in :func:`attention_plain`.
    """
    attended = torch.empty_like(value)
    buffer = block_buffer(query, groups=query.shape[1], tokens=query.shape[2])
    with torch.autocast(query.device.type, enabled=False):
        for q, k, v, out in zip(query, key, value, attended, strict=True):
            attend(q, k, v, out=out, buffer=buffer)
    return attended


@torch.library.custom_op("segattn::attention_blocked_backward", mutates_args=())
def _blocked_backward(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    """Gradients of query, key and value, one image and one block at a time; see :func:`add_gradients`."""
    inputs = [query, key, value]
    gradients = [torch.zeros_like(part) for part in inputs]
    buffers = [block_buffer(query, groups=query.shape[1], tokens=query.shape[2]) for _ in range(2)]
    with torch.autocast(query.device.type, enabled=False):
        for image, image_gradient in enumerate(gradient):
            add_gradients(
                image_gradient, [part[image] for part in inputs], [part[image] for part in gradients], buffers
            )
    return gradients


def attend(query: Tensor, key: Tensor, value: Tensor, *, out: Tensor, buffer: Tensor) -> None:
    """Attention of one image (g, n, d) in blocks, written to ``out``. ``buffer`` holds one block of the map."""
    for groups, queries in _blocks(query):
        weights = _block_weights(query[groups, queries], _of_groups(key, groups), buffer)
        torch.bmm(weights, value[groups], out=out[groups, queries])


def add_gradients(
    gradient: Tensor, inputs: Sequence[Tensor], sums: Sequence[Tensor], buffers: Sequence[Tensor]
) -> None:
    """Add the gradients of query, key and value of one image to ``sums``.

    With E = Q Kᵀ, P = softmax(E), O = P V and G the gradient of O:
    dV = Pᵀ G, dP = G Vᵀ, dE = softmax backward of dP, dQ = dE K, dK = dEᵀ Q.

    Args:
        gradient: G of the image (g, n, e).
        inputs: query, key and value of the image.
        sums: tensors to which their gradients are added. Query and value may share one tensor.
        buffers: memory for two blocks of the map.
    """
    query, key, value = inputs
    query_sum, key_sum, value_sum = sums
    for groups, queries in _blocks(query):
        q, k, g = query[groups, queries], _of_groups(key, groups), gradient[groups, queries]
        weights = _block_weights(q, k, buffers[0])  # P, recomputed
        value_sum[groups].baddbmm_(weights.mT, g)  # dV
        energy = torch.bmm(g, value[groups].mT, out=buffers[1][: weights.numel()].view_as(weights))  # dP
        torch.ops.aten._softmax_backward_data.out(energy, weights, -1, energy.dtype, grad_input=energy)  # dE, in place
        query_sum[groups, queries].baddbmm_(energy, k.expand(len(q), -1, -1))  # dQ
        # dK; a shared key sums over all groups
        if len(k) == len(q):
            _of_groups(key_sum, groups).baddbmm_(energy.mT, q)
        else:
            key_sum[0].addmm_(energy.flatten(0, 1).mT, q.flatten(0, 1))


def _steps(groups: int, tokens: int) -> tuple[int, int]:
    """Number of groups and of queries in a block: several groups if they fit, else some queries of one group."""
    return min(groups, max(1, GROUP_ELEMENTS // tokens**2)), min(tokens, max(1, QUERY_ELEMENTS // tokens))


def _blocks(query: Tensor) -> Iterator[tuple[slice, slice]]:
    """The groups and queries of each block of one image (g, n, d)."""
    groups, tokens = query.shape[:2]
    group_step, query_step = _steps(groups, tokens)
    for group in range(0, groups, group_step):
        for first in range(0, tokens, query_step):
            yield slice(group, group + group_step), slice(first, first + query_step)


def block_buffer(like: Tensor, *, groups: int, tokens: int) -> Tensor:
    """Memory for the map of one block, allocated once: new memory would cost more time than the softmax inside it."""
    group_step, query_step = _steps(groups, tokens)
    return like.new_empty(group_step * query_step * tokens)


def _of_groups(key: Tensor, groups: slice) -> Tensor:
    """The keys of some groups, or the key that all groups share."""
    return key if len(key) == 1 else key[groups]


def _block_weights(query: Tensor, key: Tensor, buffer: Tensor) -> Tensor:
    """The softmax weights of one block, written to the buffer."""
    groups, queries = query.shape[:2]
    weights = buffer[: groups * queries * key.shape[1]].view(groups, queries, key.shape[1])
    if len(key) == groups:
        torch.bmm(query, key.mT, out=weights)
    else:
        torch.mm(query.flatten(0, 1), key[0].mT, out=weights.flatten(0, 1))
    return torch.softmax(weights, dim=-1, out=weights)


def register_gradient(operator: Any, backward: Any, *, like: int) -> None:
    """Register the backward operator and the shapes of both; the output has the shape of input number ``like``."""
    operator.register_fake(lambda *inputs: torch.empty_like(inputs[like]))
    backward.register_fake(lambda _, *inputs: [torch.empty_like(part) for part in inputs])
    operator.register_autograd(
        lambda ctx, gradient: tuple(backward(gradient, *ctx.saved_tensors)),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )


register_gradient(attention_blocked, _blocked_backward, like=2)


@register_flop_formula(torch.ops.segattn.attention_blocked)
def _forward_flops(query: torch.Size, key: torch.Size, value: torch.Size, **_: Any) -> int:
    b, g, n, d = query
    return 2 * b * g * n * n * (d + value[-1])


@register_flop_formula(torch.ops.segattn.attention_blocked_backward)
def _backward_flops(gradient: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, **_: Any) -> int:
    b, g, n, d = query
    return 2 * b * g * n * n * (3 * d + 2 * value[-1])
