"""Criss-cross attention, fused against plain: values, gradients, and the size of the blocks."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from segattn.attention import CrissCrossAttention, criss_cross
from segattn.attention.dot_product import Implementation
from tests.attention.blocks import build
from tests.attention.test_dot_product import assert_relatively_close, output_and_gradients

fused = partial(criss_cross.criss_cross, implementation="fused")
plain = partial(criss_cross.criss_cross, implementation="plain")


def inputs(size: tuple[int, int], dtype: torch.dtype = torch.float32, *, scale: float = 1) -> list[Tensor]:
    query, key, value = (torch.randn(2, channels, *size, dtype=dtype) for channels in (3, 3, 7))
    return [(query * scale).requires_grad_(), key.requires_grad_(), value.requires_grad_()]


@pytest.mark.parametrize("lines", [1, 3, 64])
@pytest.mark.parametrize("size", [(5, 8), (8, 5), (1, 6), (6, 1), (1, 1)])
@pytest.mark.parametrize("scale", [1, 100], ids=["", "one position has all the weight"])
def test_fused_equals_plain(size: tuple[int, int], lines: int, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criss_cross, "LINES", lines)
    arguments = inputs(size, torch.float64, scale=scale)
    assert_relatively_close(output_and_gradients(fused, arguments), output_and_gradients(plain, arguments), 1e-10)


def test_channels_last_and_single_precision() -> None:
    arguments = inputs((5, 8))
    last = [part.detach().contiguous(memory_format=torch.channels_last).requires_grad_() for part in arguments]
    assert_relatively_close(output_and_gradients(fused, last), output_and_gradients(plain, arguments), 1e-5)


def test_gradients_equal_finite_differences() -> None:
    assert torch.autograd.gradcheck(fused, inputs((3, 4), torch.float64), fast_mode=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # raised by opcheck itself
def test_custom_operator_passes_opcheck() -> None:
    torch.library.opcheck(criss_cross._blocked, tuple(inputs((3, 4))))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_close_to_single_precision(dtype: torch.dtype) -> None:
    module, x = build(CrissCrossAttention, 16, scale=0.2), torch.randn(2, 16, 7, 10)
    expected = module(x)
    with torch.autocast("cpu", dtype=dtype):
        result = module(x).float()
    assert (result - expected).abs().max() < 2e-2 * expected.abs().max()


def test_no_block_holds_more_energies_than_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    energy = criss_cross._energy

    def record(query: Tensor, key: Tensor, axis: int) -> Tensor:
        block = energy(query, key, axis)
        sizes.append(tuple(block.shape))
        return block

    monkeypatch.setattr(criss_cross, "_energy", record)
    monkeypatch.setattr(criss_cross, "LINES", 4)
    output_and_gradients(fused, inputs((5, 8)))
    one_image = [(4, 8, 8), (1, 8, 8), (4, 5, 5), (4, 5, 5)]
    assert sizes == 4 * one_image, "forward and backward of two images"


def test_flop_count() -> None:
    def count(implementation: Implementation) -> int:
        with FlopCounterMode(display=False) as counter:
            output_and_gradients(partial(criss_cross.criss_cross, implementation=implementation), inputs((5, 8)))
        return int(counter.get_total_flops())

    again = 2 * 2 * 5 * 8 * (5 + 8) * 3  # the energies are computed again in the backward pass
    assert count("fused") == count("plain") + again


def test_two_passes_reach_every_position_and_one_pass_the_cross() -> None:
    x = torch.randn(1, 8, 5, 6, requires_grad=True)
    for recurrence, reached in ((1, 5 + 6 - 1), (2, 5 * 6)):
        module = build(CrissCrossAttention, 8, recurrence=recurrence)
        (gradient,) = torch.autograd.grad(module(x)[0, :, 1, 2].sum(), x)
        assert int(gradient[0].any(dim=0).sum()) == reached
