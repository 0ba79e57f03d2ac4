"""What every attention block promises, run over the exported list."""

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


@pytest.mark.parametrize("block", BLOCKS, **ids)
@pytest.mark.parametrize(
    "shape", [(2, CHANNELS, 9, 12), (1, CHANNELS, 7, 5), (3, CHANNELS, 1, 1), (1, CHANNELS, 2, 17)]
)
def test_keeps_shape_and_dtype(block: type[nn.Module], shape: tuple[int, ...]) -> None:
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
def test_a_thin_map_has_alone_what_it_has_in_a_batch(block: type[nn.Module], size: tuple[int, int]) -> None:
    module, x = build(block, 16).eval(), torch.randn(2, 16, *size)  # ELA: groups of one channel
    with torch.no_grad():
        torch.testing.assert_close(module(x[:1]), module(x)[:1], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_every_parameter_and_the_input_get_a_gradient(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).train(), torch.randn(3, CHANNELS, 9, 12, requires_grad=True)
    (module(x) * torch.randn(x.shape)).sum().backward()
    assert x.grad is not None
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_trains_on_a_batch_of_one(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).train(), torch.randn(1, CHANNELS, 9, 12, requires_grad=True)
    module(x).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in [x, *module.parameters()])


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_an_image_does_not_depend_on_its_batch(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).double().eval(), torch.randn(3, CHANNELS, 9, 12).double()
    x[1] *= 10
    with torch.no_grad():
        together, alone = module(x), torch.cat([module(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_an_image_does_not_depend_on_its_batch_in_single_precision(block: type[nn.Module]) -> None:
    module, x = block(CHANNELS).eval(), torch.randn(3, CHANNELS, 9, 12)
    for name, parameter in module.named_parameters():
        if name.endswith("gamma"):
            nn.init.ones_(parameter)
    with torch.no_grad():
        together, alone = module(x), torch.cat([module(image[None]) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6 * float(together.abs().max()))


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_state_round_trip(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).eval(), torch.randn(2, CHANNELS, 9, 12)
    other = block(CHANNELS).eval()
    other.load_state_dict(copy.deepcopy(module.state_dict()))
    with torch.no_grad():
        assert torch.equal(module(x), other(x))


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_works_under_autocast(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS, scale=0.1).train(), torch.randn(2, CHANNELS, 9, 12, requires_grad=True)

    def step() -> tuple[Tensor, ...]:
        y = module(x)
        gradients = torch.autograd.grad((y.float() * y.detach().float()).mean(), [x, *module.parameters()])
        return y.float(), *gradients

    expected = step()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = step()
    assert (result[0] - expected[0]).norm() < 0.05 * expected[0].norm()
    assert all(gradient.isfinite().all() for gradient in result)


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_channels_last_gives_the_same(block: type[nn.Module]) -> None:
    module, x = build(block, CHANNELS).double().eval(), torch.randn(2, CHANNELS, 9, 12).double()
    with torch.no_grad():
        torch.testing.assert_close(module(x), module(x.to(memory_format=torch.channels_last)), rtol=1e-10, atol=1e-10)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("BAM", {"reduction": 65}, "reduction must be at most"),
    ("BAM", {"dilation": 0}, "dilation must be a positive integer"),
    ("BAM", {"combination": "max"}, "combination must be one of product, sum, got 'max'"),
    ("CBAM", {"reduction": 65}, "reduction must be at most"),
    ("CBAM", {"kernel_size": 6}, "kernel_size must be a positive odd integer, got 6"),
    ("CPCA", {"reduction": 0}, "reduction must be a positive integer"),
    ("CPCA", {"strips": (7, 10)}, "strips must be a positive odd integer, got 10"),
    ("CPCA", {"strips": ()}, "number_of_strips must be a positive integer, got 0"),
    ("ChannelAttention", {"softmax": "max"}, "softmax must be one of released, formula, got 'max'"),
    ("ChannelPositionAttention", {"softmax": "max"}, "softmax must be one of"),
    ("ChannelPositionAttention", {"reduction": 65}, "reduction must be at most"),
    ("ChannelPositionAttention", {"implementation": "fast"}, "implementation must be one of fused, plain"),
    ("CoordinateAttention", {"reduction": 0}, "reduction must be a positive integer"),
    ("CoordinateAttention", {"min_width": 0}, "min_width must be a positive integer"),
    ("DualAttention", {"softmax": "max"}, "softmax must be one of"),
    ("DualAttention", {"reduction": 0}, "reduction must be a positive integer, got 0"),
    ("DualAttention", {"implementation": "fast"}, "implementation must be one of"),
    ("ECA", {"kernel_size": 4}, "kernel_size must be a positive odd integer, got 4"),
    ("ELA", {"kernel_size": 4}, "kernel_size must be a positive odd integer, got 4"),
    ("ELA", {"conv_groups": 3}, "channels must be divisible by conv_groups, got 64 channels and conv_groups 3"),
    ("ELA", {"norm_groups": 3}, "channels must be divisible by norm_groups"),
    ("EfficientMultiScaleAttention", {"groups": 3}, "channels must be divisible by groups"),
    ("EfficientMultiScaleAttention", {"groups": 0}, "groups must be a positive integer, got 0"),
    ("FullyAttentional", {"implementation": "fast"}, "implementation must be one of fused, plain, got 'fast'"),
    ("PCSA", {"heads": 3}, "channels must be divisible by heads, got 64 channels and heads 3"),
    ("PCSA", {"window": 0}, "window must be a positive integer, got 0"),
    ("PCSA", {"window": -1}, "window must be a positive integer, got -1"),
    ("PCSA", {"pooling": "avg"}, "pooling must be one of average, max, recombination, got 'avg'"),
    ("PCSA", {"pooling": "recombination", "window": None}, "recombination needs a window"),
    ("PCSA", {"gate": "sigmoyd"}, "gate must be one of sigmoid, softmax, got 'sigmoyd'"),
    ("PCSA", {"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ("PositionAttention", {"reduction": 65}, r"reduction must be at most the number of channels \(64\), got 65"),
    ("PositionAttention", {"implementation": "fast"}, "implementation must be one of"),
    ("SCSA", {"heads": 3}, "channels must be divisible by heads"),
    ("SCSA", {"kernel_sizes": (3, 5, 7)}, "divisible by number_of_kernel_sizes"),
    ("SCSA", {"gate": "tanh"}, "gate must be one of"),
    ("SGE", {"groups": 3}, "channels must be divisible by groups"),
    ("SMSA", {"kernel_sizes": 7}, "kernel_sizes must be a list of positive odd integers, got 7"),
    ("SMSA", {"kernel_sizes": {3, 5}}, "kernel_sizes must be a list of positive odd integers"),
    ("SelectiveKernel", {"kernel_sizes": 3}, "kernel_sizes must be a list of positive odd integers, got 3"),
    ("CPCA", {"strips": 7}, "strips must be a list of positive odd integers, got 7"),
    ("CBAM", {"kernel_size": True}, "kernel_size must be a positive odd integer, got True"),
    ("PCSA", {"dropout": "a"}, "dropout must be at least 0 and below 1, got 'a'"),
    ("SMSA", {"kernel_sizes": ()}, "number_of_kernel_sizes must be a positive integer, got 0"),
    ("SMSA", {"kernel_sizes": (3, 4)}, "kernel_sizes must be a positive odd integer, got 4"),
    ("SMSA", {"gate": "tanh"}, "gate must be one of"),
    ("SelectiveKernel", {"kernel_sizes": (3,)}, "at least two branches"),
    ("SelectiveKernel", {"kernel_sizes": (3, 4)}, "kernel_sizes must be a positive odd integer, got 4"),
    ("SelectiveKernel", {"groups": 3}, "channels must be divisible by groups"),
    ("SelectiveKernel", {"reduction": 0}, "reduction must be a positive integer"),
    ("SelectiveKernel", {"min_width": 0}, "min_width must be a positive integer"),
    ("ShuffleAttention", {"groups": 64}, "channels must be divisible by twice_the_groups"),
    ("ShuffleAttention", {"groups": 0}, "groups must be a positive integer, got 0"),
    ("SqueezeExcite", {"reduction": 65}, "reduction must be at most"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("name", "keywords", "message"), WRONG)
def test_wrong_arguments_are_refused(name: str, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(attention, name)(CHANNELS, **keywords)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("block", BLOCKS, **ids)
@pytest.mark.parametrize("channels", [0, -8, 2.5])
def test_wrong_channels_are_refused(block: type[nn.Module], channels: int) -> None:
    with pytest.raises(ValueError, match="must be a positive integer"):
        block(channels)
