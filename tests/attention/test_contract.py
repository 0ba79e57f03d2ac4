"""Contract of all attention blocks, tested over the exported list."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segattn import attention
from tests.attention.blocks import build

CHANNELS = 64
BLOCKS = [getattr(attention, name) for name in attention.__all__]
ids = {"ids": attention.__all__}


def trained(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are not frozen."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


@pytest.mark.parametrize("block", BLOCKS, **ids)
@pytest.mark.parametrize(
    "shape", [(2, CHANNELS, 9, 12), (1, CHANNELS, 7, 5), (3, CHANNELS, 1, 1), (1, CHANNELS, 2, 17)]
)
def test_output_shape_and_dtype(block: type[nn.Module], shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    for dtype in (torch.float32, torch.float64):
        module = build(block, CHANNELS).eval().to(dtype)
        with torch.no_grad():
            y = module(x.to(dtype))
        assert y.shape == x.shape
        assert y.dtype == dtype
        assert y.isfinite().all()


@pytest.mark.parametrize("block", BLOCKS, **ids)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1)])
def test_batch_invariance_on_1xn_maps(block: type[nn.Module], size: tuple[int, int]) -> None:
    module, x = (
        build(block, 16).eval(),
        torch.randn(2, 16, *size),
    )  # group norms with one channel per group
    with torch.no_grad():
        torch.testing.assert_close(module(x[:1]), module(x)[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_gradients_reach_input_and_all_parameters(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).train(), torch.randn(3, CHANNELS, 9, 12, requires_grad=True)
    (module(x) * torch.randn(x.shape)).sum().backward()
    assert x.grad is not None
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_training_on_a_single_image(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).train(), torch.randn(1, CHANNELS, 9, 12, requires_grad=True)
    module(x).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in [x, *trained(module)])


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_batch_invariance(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).double().eval(), torch.randn(3, CHANNELS, 9, 12).double()
    x[1] *= 10
    with torch.no_grad():
        together, alone = module(x), torch.cat([module(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_batch_invariance_in_single_precision(block: type[nn.Module]) -> None:
    module, x = block(CHANNELS).eval(), torch.randn(3, CHANNELS, 9, 12)
    for name, parameter in module.named_parameters():
        if name.endswith("gamma"):
            nn.init.ones_(parameter)
    with torch.no_grad():
        together, alone = module(x), torch.cat([module(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6 * float(together.abs().max()))


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_state_dict_round_trip(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).eval(), torch.randn(2, CHANNELS, 9, 12)
    other = block(CHANNELS).eval()
    other.load_state_dict(copy.deepcopy(module.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(module(x), other(x))


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_autocast(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS, scale=0.1).train(), torch.randn(2, CHANNELS, 9, 12, requires_grad=True)

    def step() -> tuple[Tensor, ...]:
        y = module(x)
        gradients = torch.autograd.grad((y.float() * y.detach().float()).mean(), [x, *trained(module)])
        return y.float(), *gradients

    expected = step()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = step()
    assert (result[0] - expected[0]).norm() < 0.05 * expected[0].norm()
    assert all(gradient.isfinite().all() for gradient in result)


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_channels_last(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).double().eval(), torch.randn(2, CHANNELS, 9, 12).double()
    with torch.no_grad():
        torch.testing.assert_close(module(x), module(x.to(memory_format=torch.channels_last)), rtol=1e-10, atol=1e-10)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("BAM", {"reduction": 65}, r"reduction must be between 1 and the number of channels \(64\), got 65"),
    ("BAM", {"combination": "max"}, "combination must be one of product, sum, got 'max'"),
    ("CBAM", {"reduction": 65}, "reduction must be between"),
    ("CBAM", {"kernel_size": 6}, "kernel_size must be positive and odd, got 6"),
    ("CPCA", {"reduction": 0}, "reduction must be between"),
    ("CPCA", {"strips": (7, 10)}, "strips must be positive and odd, got 10"),
    ("ChannelAttention", {"softmax": "max"}, "softmax must be one of released, formula, got 'max'"),
    ("ChannelPositionAttention", {"softmax": "max"}, "softmax must be one of"),
    ("ChannelPositionAttention", {"reduction": 65}, "reduction must be between"),
    ("ChannelPositionAttention", {"implementation": "fast"}, "implementation must be one of fused, plain"),
    ("CoordinateAttention", {"reduction": 0}, "reduction must be at least 1, got 0"),
    ("CrissCrossAttention", {"recurrence": 0}, "recurrence must be at least 1, got 0"),
    ("CrissCrossAttention", {"reduction": 65}, "reduction must be between"),
    ("DisentangledNonLocal", {"reduction": 65}, "reduction must be between"),
    ("DisentangledNonLocal", {"temperature": 0}, "temperature must be above 0, got 0"),
    ("DisentangledNonLocal", {"implementation": "fast"}, "implementation must be one of"),
    ("DualAttention", {"softmax": "max"}, "softmax must be one of"),
    ("DualAttention", {"reduction": 0}, "reduction must be between"),
    ("DualAttention", {"implementation": "fast"}, "implementation must be one of"),
    ("ECA", {"kernel_size": 4}, "kernel_size must be positive and odd, got 4"),
    ("ELA", {"kernel_size": 4}, "kernel_size must be positive and odd, got 4"),
    ("ELA", {"conv_groups": 3}, "divisible by groups"),
    ("ELA", {"norm_groups": 3}, "divisible by num_groups"),
    ("EfficientMultiScaleAttention", {"groups": 3}, "channels must be divisible by groups"),
    ("EfficientMultiScaleAttention", {"groups": 0}, "channels must be divisible by groups"),
    ("ExpectationMaximizationAttention", {"bases": 0}, "bases and iterations must be at least 1, got 0 and 3"),
    ("ExpectationMaximizationAttention", {"iterations": 0}, "bases and iterations must be at least 1, got 64 and 0"),
    ("ExpectationMaximizationAttention", {"momentum": 1.5}, "momentum must be between 0 and 1, got 1.5"),
    ("FullyAttentional", {"implementation": "fast"}, "implementation must be one of fused, plain, got 'fast'"),
    ("InterlacedSparseAttention", {"reduction": 65}, "reduction must be between"),
    ("InterlacedSparseAttention", {"window": (8, 0)}, r"window must be a height and a width of at least 1, got \(8, 0"),
    ("InterlacedSparseAttention", {"implementation": "fast"}, "implementation must be one of"),
    ("GlobalContext", {"reduction": 65}, "reduction must be between"),
    ("NonLocal", {"reduction": 65}, "reduction must be between"),
    ("NonLocal", {"implementation": "fast"}, "implementation must be one of"),
    ("PCSA", {"heads": 3}, "channels must be divisible by heads, got 64 channels and heads 3"),
    ("PCSA", {"pooling": "avg"}, "pooling must be one of average, max, recombination, got 'avg'"),
    ("PCSA", {"pooling": "recombination", "window": None}, "recombination needs a window"),
    ("PCSA", {"window": 0}, "window must be at least 1, got 0"),
    ("PCSA", {"gate": "sigmoyd"}, "gate must be one of sigmoid, softmax, got 'sigmoyd'"),
    ("PCSA", {"dropout": 1.5}, "between 0 and 1, but got 1.5"),
    ("PositionAttention", {"reduction": 65}, "reduction must be between"),
    ("PositionAttention", {"implementation": "fast"}, "implementation must be one of"),
    ("SCSA", {"heads": 3}, "channels must be divisible by heads"),
    ("SCSA", {"kernel_sizes": (3, 5, 7)}, "divisible by number_of_kernel_sizes"),
    ("SCSA", {"gate": "tanh"}, "gate must be one of"),
    ("SGE", {"groups": 3}, "channels must be divisible by groups"),
    ("SMSA", {"kernel_sizes": ()}, "divisible by number_of_kernel_sizes"),
    ("SMSA", {"kernel_sizes": (3, 4)}, "kernel_sizes must be positive and odd, got 4"),
    ("SMSA", {"gate": "tanh"}, "gate must be one of"),
    ("SelectiveKernel", {"kernel_sizes": (3, 4)}, "kernel_sizes must be positive and odd, got 4"),
    ("SelectiveKernel", {"groups": 3}, "divisible by groups"),
    ("SelectiveKernel", {"min_width": 0}, "min_width must be at least 1, got 0"),
    ("ShuffleAttention", {"groups": 64}, "channels must be divisible by twice_the_groups"),
    ("ShuffleAttention", {"groups": 0}, "channels must be divisible by twice_the_groups"),
    ("SqueezeExcite", {"reduction": 65}, "reduction must be between"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "keywords", "message"), WRONG)
def test_invalid_arguments(name: str, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(attention, name)(CHANNELS, **keywords)
