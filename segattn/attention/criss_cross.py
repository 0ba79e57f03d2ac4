"""Criss-cross attention: each position gathers from the positions of its row and of its column.

Huang et al.: CCNet: Criss-Cross Attention for Semantic Segmentation. ICCV 2019, https://arxiv.org/abs/1811.11721,
equations 1 and 2, and the recurrence of section 3.3.

With Q, K, V the query, key and value convolutions (the paper's Q, K, V) and v over the H + W - 1 positions in the row
and the column of u, where u itself counts once:

    A_u = softmax over v of (Q_u . K_v),  H'_u = gamma * sum_v A_uv V_v + H_u

The recurrence applies the block several times with the same weights. After the second pass, each position has gathered
from all positions.

The energies (H*W*(H + W) values) need not be stored. The rows are attended to first, some at a time, and then the
columns without the position itself. Both results are merged with their log-sum-exp, so the weights are exactly those of
one softmax. For the gradients, each block of energies is computed again, and its weights are exp(energy - log-sum-exp).

Differences from the paper: gamma, which starts at 0, is from the authors' code.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from segattn.attention.danet import PositionAttention
from segattn.attention.dot_product import Implementation, as_autocast
from segattn.attention.fully_attentional import COLUMNS_AND_ROWS, line_blocks

COLUMNS, ROWS = COLUMNS_AND_ROWS

LINES = 4
"""Columns or rows to attend to together: more need more memory, and are not faster."""

LAYOUTS = ("b w h c", "b h w c")
"""Features by column and by row."""


def criss_cross(
    query: Float[Tensor, "b d h w"],
    key: Float[Tensor, "b d h w"],
    value: Float[Tensor, "b c h w"],
    *,
    implementation: Implementation = "fused",
) -> Float[Tensor, "b c h w"]:
    """The sum in equation 2, without gamma and residual. For ``implementation`` see :class:`CrissCrossAttention`."""
    if implementation == "plain" or torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return _plain(query, key, value)
    attended: Tensor = _blocked(*(part.contiguous() for part in as_autocast(query, key, value)))[0]
    return attended


def _plain(
    query: Float[Tensor, "b d h w"], key: Float[Tensor, "b d h w"], value: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    """The definition: one softmax over the energies of the column and the row."""
    in_column, in_row = ([rearrange(part, f"b c h w -> {lines}") for part in (query, key, value)] for lines in LAYOUTS)
    itself = torch.eye(query.shape[2], dtype=torch.bool, device=query.device)
    column_energy = (in_column[0] @ in_column[1].mT).masked_fill(itself, -torch.inf)
    energy = torch.cat([rearrange(column_energy, "b w h n -> b h w n"), in_row[0] @ in_row[1].mT], dim=-1)
    weights = energy.softmax(dim=-1)
    of_column, of_row = weights[..., : query.shape[2]], weights[..., query.shape[2] :]
    by_column = rearrange(of_column, "b h w n -> b w h n") @ in_column[2]
    by_row = of_row @ in_row[2]
    return rearrange(by_column, "b w h c -> b c h w") + rearrange(by_row, "b h w c -> b c h w")


@torch.library.custom_op("segattn::criss_cross", mutates_args=())
def _blocked(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """The attended values, and the log-sum-exp (b, 1, h, w) of the energies of each position, in blocks of lines."""
    attended = torch.zeros_like(value)
    lse = _lse_like(query).fill_(-torch.inf)
    with torch.autocast(query.device.type, enabled=False):
        for image in zip(query, key, value, attended, lse, strict=True):
            for axis in (ROWS, COLUMNS):  # rows first: in a column of one position there is nothing to attend to
                for q, k, v, out, total in zip(*(line_blocks(part, axis, LINES) for part in image), strict=True):
                    energy = _energy(q, k, axis)
                    merged = torch.logaddexp(total, energy.logsumexp(dim=1, keepdim=True))
                    weights = energy.sub_(merged).exp_().to(v.dtype)
                    out.mul_(total.sub_(merged).exp_()).add_(v @ weights)
                    total.copy_(merged)
    return attended, lse


@torch.library.custom_op("segattn::criss_cross_backward", mutates_args=())
def _blocked_backward(gradient: Tensor, saved: list[Tensor]) -> list[Tensor]:
    """Gradients of query, key and value, in blocks of lines, from these inputs and both outputs of the operator.

    With E = Kᵀ Q (keys x queries), P = exp(E - log-sum-exp), O = V P and G the gradient of O:
    dV = G Pᵀ, dE = P * (Vᵀ G - sum over channels of G * O), dQ = K dE, dK = Q dEᵀ.
    """
    sums = [torch.zeros_like(part) for part in saved[:3]]
    with torch.autocast(gradient.device.type, enabled=False):
        for image in zip(*saved, gradient, *sums, strict=True):
            for axis in (ROWS, COLUMNS):
                lines = zip(*(line_blocks(part, axis, LINES) for part in image), strict=True)
                for q, k, v, out, total, g, query_sum, key_sum, value_sum in lines:
                    inner = (g.to(total.dtype) * out).sum(dim=1, keepdim=True)
                    weights = _energy(q, k, axis).sub_(total).exp_()  # P
                    value_sum.add_(g @ weights.to(g.dtype).mT)
                    energy = weights.mul_((v.mT @ g).sub(inner)).to(q.dtype)  # dE
                    query_sum.add_(k @ energy)
                    key_sum.add_(q @ energy.mT)
    return sums


def _energy(query: Tensor, key: Tensor, axis: int) -> Float[Tensor, "lines keys queries"]:
    """Energies inside some lines, at least in single precision; -inf between a position and itself in a column."""
    energy = key.mT @ query
    energy = energy.to(torch.promote_types(energy.dtype, torch.float32))
    if axis == COLUMNS:
        energy.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    return energy


def _lse_like(query: Tensor) -> Tensor:
    return torch.empty_like(query[:, :1], dtype=torch.promote_types(query.dtype, torch.float32))


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs, *output)


_blocked.register_fake(lambda query, key, value: (torch.empty_like(value), _lse_like(query)))
_blocked_backward.register_fake(lambda gradient, saved: [torch.empty_like(part) for part in saved[:3]])
_blocked.register_autograd(
    lambda ctx, gradient, _: tuple(_blocked_backward(gradient.contiguous(), list(ctx.saved_tensors))),
    setup_context=_save,
)


@register_flop_formula(torch.ops.segattn.criss_cross)
def _forward_flops(query: torch.Size, key: torch.Size, value: torch.Size, **_: Any) -> int:
    b, d, h, w = query
    return 2 * b * h * w * (h + w) * (d + value[1])


@register_flop_formula(torch.ops.segattn.criss_cross_backward)
def _backward_flops(gradient: torch.Size, saved: list[torch.Size], **_: Any) -> int:
    b, d, h, w = saved[0]
    return 2 * b * h * w * (h + w) * (3 * d + 2 * gradient[1])


class CrissCrossAttention(PositionAttention):
    """Criss-cross attention, applied ``recurrence`` times with the same weights.

    Args:
        channels: number of input and output channels, at least ``reduction``.
        reduction: query and key have ``channels // reduction`` channels.
        recurrence: number of passes; 2 in the paper.
        implementation: ``plain`` builds the map of H*W*(H + W) pairs, ``fused`` does not; results agree within
            rounding.

    Raises:
        ValueError: if ``recurrence`` is below 1.

    Examples:
        >>> import torch
        >>> from segattn.attention import CrissCrossAttention
        >>> block, x = CrissCrossAttention(64), torch.rand(2, 64, 30, 45)
        >>> block(x).shape
        torch.Size([2, 64, 30, 45])
        >>> torch.allclose(block(x), x)  # gamma starts at 0
        True
    """

    def __init__(
        self, channels: int, *, reduction: int = 8, recurrence: int = 2, implementation: Implementation = "fused"
    ) -> None:
        super().__init__(channels, reduction=reduction, implementation=implementation)
        if recurrence < 1:
            raise ValueError(f"recurrence must be at least 1, got {recurrence}.")
        self.recurrence = recurrence

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features after all passes; equal to the input while gamma is 0."""
        for _ in range(self.recurrence):
            x = self.one_pass(x)
        return x

    def one_pass(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus gamma times what each position gathered from its row and its column."""
        attended = criss_cross(self.query(x), self.key(x), self.value(x), implementation=self.implementation)
        return torch.addcmul(x, self.gamma, attended)
