import pytest
import torch
from torch import nn
from torch.optim import SGD

from segattn.attention import FullyAttentional, PositionAttention
from segattn.benchmark.estimate import TensorMemory, estimate_memory


def test_peak_is_the_largest_number_of_live_bytes():
    start = torch.zeros(100)  # 400 bytes
    with TensorMemory([start]) as memory:
        a = start + 1
        view = a.view(10, 10)  # shares the memory of a
        b = a * 2
        del a, view
        c = b * 2
        del b, c
        d = start * 3
    assert memory.peak == 400 * 3
    assert memory.live == 400 * 2
    del d
    assert memory.live == 400


@pytest.mark.parametrize("block", [PositionAttention, FullyAttentional])
@pytest.mark.parametrize("implementation", ["plain", "fused"])
def test_estimate_equals_the_allocations_of_a_run(block, implementation):
    shape = (2, 32, 24, 18)
    module = block(32, implementation=implementation)
    weights = [*module.parameters(), *module.buffers()]
    with torch.no_grad(), TensorMemory(weights) as prediction:
        module.eval()(torch.empty(shape).normal_())
    module.train()
    with TensorMemory(weights) as training:
        output = module(torch.empty(shape, requires_grad=True))
        torch.autograd.backward(output, torch.ones_like(output))
        del output
    estimated = estimate_memory(block(32, implementation=implementation), shape)
    assert estimated[0] == pytest.approx(prediction.peak, rel=0.01)
    assert estimated[1] == pytest.approx(training.peak, rel=0.1)


def test_plain_attention_counts_the_map_of_all_pairs():
    shape = (1, 16, 64, 64)
    plain = estimate_memory(PositionAttention(16, implementation="plain"), shape)
    fused = estimate_memory(PositionAttention(16), shape)
    pairs = 4 * (64 * 64) ** 2
    assert plain[0] > pairs > 2 * fused[0]
    assert plain[1] > 2 * pairs > 2 * fused[1]


def test_optimizer_state_counts():
    def factory():
        return nn.Conv2d(8, 8, 3)

    size = sum(4 * parameter.numel() for parameter in factory().parameters())
    bare = estimate_memory(factory(), (1, 8, 4, 4), lambda parameters: SGD(parameters, lr=0.1))
    momentum = estimate_memory(factory(), (1, 8, 4, 4), lambda parameters: SGD(parameters, lr=0.1, momentum=0.9))
    assert bare[0] == momentum[0]
    assert momentum[1] - bare[1] >= size
