"""The bases of expectation-maximization attention: their moving average, and several processes."""

import torch
from torch import Tensor, distributed

from segattn.attention import ExpectationMaximizationAttention
from tests.attention.blocks import build


def scaled(bases: Tensor) -> Tensor:
    """Bases (1, C, K) divided by their lengths."""
    return bases / (bases**2).sum(dim=1, keepdim=True).sqrt()


def final_bases(module: ExpectationMaximizationAttention, x: Tensor) -> list[Tensor]:
    """The bases of each image, one image at a time."""
    return [module.estimate(image[None])[1] for image in x]


def test_bases_are_the_moving_average_over_training_batches() -> None:
    module = build(ExpectationMaximizationAttention, 8, bases=5, momentum=0.25).double()
    for _ in range(2):
        x, before = torch.randn(3, 8, 4, 5, dtype=torch.float64), module.bases.clone()
        mean = scaled(sum(final_bases(module, x), torch.zeros_like(before)) / 3)
        module.train()(x)
        torch.testing.assert_close(module.bases, 0.75 * before + 0.25 * mean)


def test_evaluation_does_not_change_the_bases() -> None:
    module = build(ExpectationMaximizationAttention, 8).eval()
    before = module.bases.clone()
    module(torch.randn(3, 8, 4, 5))
    assert torch.equal(module.bases, before)


def test_bases_are_averaged_over_processes(monkeypatch) -> None:
    x = torch.randn(4, 8, 4, 5, dtype=torch.float64)
    module = build(ExpectationMaximizationAttention, 8, bases=5).double()
    other = scaled(torch.randn(1, 8, 5, dtype=torch.float64))
    before, mine = module.bases.clone(), sum(final_bases(module, x), torch.zeros(1)) / 4
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "all_reduce", lambda value: value.add_(other))
    module.train()(x)
    torch.testing.assert_close(module.bases, 0.9 * before + 0.1 * scaled((mine + other) / 2))
