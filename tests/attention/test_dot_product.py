"""Fused against plain: values, all gradients, and the size of the blocks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segattn.attention import (
    CrissCrossAttention,
    DisentangledNonLocal,
    DualAttention,
    FullyAttentional,
    PositionAttention,
    dot_product,
    fully_attentional,
)
from segattn.attention.dot_product import (
    Implementation,
    attention_blocked,
    attention_by_kernel,
    attention_plain,
    dot_product_attention,
)
from tests.attention.blocks import build

SHAPES = {
    "position": (2, 1, 1, 35, 3, 12),
    "value width not a multiple": (2, 1, 1, 35, 5, 12),
    "shared key": (2, 5, 1, 12, 7, 7),
    "own keys": (2, 5, 5, 12, 7, 4),
}
"""Number of images, groups, groups of keys, tokens; width of query and key; width of value."""


def inputs(name: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    b, g, key_groups, n, d, e = SHAPES[name]
    shapes = [(b, g, n, d), (b, key_groups, n, d), (b, g, n, e)]
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def output_and_gradients(function: Callable[..., Tensor], arguments: list[Tensor]) -> list[Tensor]:
    output = function(*arguments)
    cotangent = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    return [output, *torch.autograd.grad(output, arguments, cotangent)]


def assert_relatively_close(results: list[Tensor], references: list[Tensor], tolerance: float) -> None:
    for result, reference in zip(results, references, strict=True):
        assert result.shape == reference.shape
        # A bias of the key cancels in the softmax, so its gradient is rounding noise around zero.
        scale = max(reference.abs().max().item(), 1.0)
        assert (result.to(reference.dtype) - reference).abs().max() <= tolerance * scale


@pytest.fixture(params=[1, 50, 500, 2**22], ids=lambda size: f"blocks of {size}")
def block_elements(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks of one query, several queries, several groups, and the whole map."""
    for limit in ("GROUP_ELEMENTS", "QUERY_ELEMENTS"):
        monkeypatch.setattr(dot_product, limit, request.param)
    return int(request.param)


@pytest.mark.usefixtures("block_elements")
@pytest.mark.parametrize("name", SHAPES)
def test_blocked_equals_plain(name: str) -> None:
    arguments = inputs(name)
    references = output_and_gradients(attention_plain, arguments)
    assert_relatively_close(output_and_gradients(attention_blocked, arguments), references, 1e-5)


@pytest.mark.usefixtures("block_elements")
@pytest.mark.parametrize("lines", [1, 3, 64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fully_attentional_fused_equals_plain(
    lines: int, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fully_attentional, "LINES", lines)
    x = torch.randn(3, 6, 5, 8).contiguous(memory_format=layout).requires_grad_()
    keys = [torch.randn(3, 6, side, requires_grad=True) for side in (5, 8)]
    references = output_and_gradients(partial(fully_attentional.fully_attentional, implementation="plain"), [x, *keys])
    results = output_and_gradients(partial(fully_attentional.fully_attentional, implementation="fused"), [x, *keys])
    assert_relatively_close(results, references, 1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_blocked_gradients_equal_finite_differences(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("GROUP_ELEMENTS", "QUERY_ELEMENTS"):
        monkeypatch.setattr(dot_product, limit, 50)
    assert torch.autograd.gradcheck(attention_blocked, inputs(name, torch.float64), fast_mode=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # raised by opcheck itself
def test_custom_operators_pass_opcheck() -> None:
    query, key, value = inputs("shared key")
    torch.library.opcheck(attention_blocked, (query, key, value))
    x, *keys = torch.randn(2, 4, 3, 5), torch.randn(2, 4, 3), torch.randn(2, 4, 5)
    torch.library.opcheck(fully_attentional._blocked, tuple(part.requires_grad_() for part in (x, *keys)))


def test_block_size_limit(block_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    weights = dot_product._block_weights

    def record(query: Tensor, key: Tensor, buffer: Tensor) -> Tensor:
        sizes.append(buffer.numel())
        return weights(query, key, buffer)

    monkeypatch.setattr(dot_product, "_block_weights", record)
    for name, (_, _, _, n, _, _) in SHAPES.items():
        sizes.clear()
        output_and_gradients(attention_blocked, inputs(name))
        assert max(sizes) <= max(block_elements, n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SHAPES)
def test_attention_by_kernel_equals_plain(name: str, dtype: torch.dtype) -> None:
    arguments = inputs(name)
    references = output_and_gradients(attention_plain, arguments)
    lower = [part.detach().to(dtype).requires_grad_() for part in arguments]
    results = output_and_gradients(attention_by_kernel, lower)
    assert results[0].dtype == dtype
    assert_relatively_close(results, references, 1e-5 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize("block", [PositionAttention, FullyAttentional, DualAttention, DisentangledNonLocal])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_and_plain_modules_agree(
    block: type[nn.Module], dtype: torch.dtype, block_elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    del block_elements
    plain = build(block, 16, scale=0.2, implementation="plain").train()
    fused = block(16, implementation="fused").train()
    fused.load_state_dict(plain.state_dict())
    x = torch.randn(3, 16, 7, 10, requires_grad=True)

    def step(module: nn.Module) -> list[Tensor]:
        parts = [x, *module.parameters()]
        output, *gradients = output_and_gradients(lambda *_: module(x), parts)
        # some gradients are sums of large parts that cancel: those of biases before a batch norm
        return [output, torch.cat([gradient.flatten() for gradient in gradients])]

    references = step(plain)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        results = step(fused)
    if dtype == torch.float32:
        assert_relatively_close(results, references, 1e-5)
    else:
        assert_relatively_close(results[:1], references[:1], 2e-2)


@pytest.mark.parametrize("block", [PositionAttention, FullyAttentional, CrissCrossAttention])
@pytest.mark.usefixtures("unchecked")
def test_compiles_without_graph_breaks(block: type[nn.Module]) -> None:
    module = build(block, 16, scale=0.2).train()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    for size in ((6, 9), (11, 5)):
        x = torch.randn(2, 16, *size, requires_grad=True)
        expected = output_and_gradients(module, [x])
        assert_relatively_close(output_and_gradients(compiled, [x]), expected, 1e-5)


def test_flop_count_of_blocked_attention() -> None:
    def count(function: Callable[..., Any], name: str) -> int:
        with FlopCounterMode(display=False) as counter:
            output_and_gradients(function, inputs(name))
        return int(counter.get_total_flops())

    for name, (b, g, _, n, d, _) in SHAPES.items():
        again = 2 * b * g * n * n * d  # the energy is recomputed in the backward pass
        assert count(attention_blocked, name) == count(attention_plain, name) + again


def test_autocast_does_not_change_double_precision() -> None:
    query, key, value = inputs(next(iter(SHAPES)), torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        attended = dot_product_attention(query, key, value, implementation="fused")
    assert_relatively_close([attended], [attention_plain(query, key, value)], 1e-12)


def test_flop_count_of_fully_attentional() -> None:
    def count(implementation: Implementation) -> int:
        x, *keys = (torch.randn(2, 6, *size, requires_grad=True) for size in ((5, 8), (5,), (8,)))
        function = partial(fully_attentional.fully_attentional, implementation=implementation)
        with FlopCounterMode(display=False) as counter:
            output_and_gradients(function, [x, *keys])
        return int(counter.get_total_flops())

    again = 2 * 2 * 6 * 6 * (5 * 8 + 8 * 5)  # the energies are recomputed in the backward pass
    assert count("fused") == count("plain") + again
