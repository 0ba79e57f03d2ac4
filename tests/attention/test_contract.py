"""What every attention block promises, run over the exported list."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segattn import attention

CHANNELS = 16
BLOCKS = [getattr(attention, name) for name in attention.__all__]
ids = {"ids": attention.__all__}


def build(block: Callable[..., nn.Module], **keywords: Any) -> nn.Module:
    """A block with random weights everywhere, so that no gate starts at zero and no norm is the identity."""
    module = block(CHANNELS, **keywords)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.5)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return module


@pytest.mark.parametrize("block", BLOCKS, **ids)
@pytest.mark.parametrize(
    "shape", [(2, CHANNELS, 9, 12), (1, CHANNELS, 7, 5), (3, CHANNELS, 1, 1), (1, CHANNELS, 2, 17)]
)
def test_keeps_shape_and_dtype(block: type[nn.Module], shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    for dtype in (torch.float32, torch.float64):
        module = build(block).eval().to(dtype)
        with torch.no_grad():
            y = module(x.to(dtype))
        assert y.shape == x.shape
        assert y.dtype == dtype
        assert y.isfinite().all()


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_every_parameter_and_the_input_get_a_gradient(block: type[nn.Module]) -> None:
    module, x = build(block).train(), torch.randn(3, CHANNELS, 9, 12, requires_grad=True)
    (module(x) * torch.randn(x.shape)).sum().backward()
    assert x.grad is not None
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_an_image_does_not_depend_on_its_batch(block: type[nn.Module]) -> None:
    module, x = build(block).double().eval(), torch.randn(3, CHANNELS, 9, 12).double()
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
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_state_round_trip(block: type[nn.Module]) -> None:
    module, x = build(block).eval(), torch.randn(2, CHANNELS, 9, 12)
    other = block(CHANNELS).eval()
    other.load_state_dict(copy.deepcopy(module.state_dict()))
    with torch.no_grad():
        assert torch.equal(module(x), other(x))


@pytest.mark.parametrize("block", BLOCKS, **ids)
def test_works_under_autocast(block: type[nn.Module]) -> None:
    module, x = build(block).train(), torch.randn(2, CHANNELS, 9, 12, requires_grad=True)

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
    module, x = build(block).eval(), torch.randn(2, CHANNELS, 9, 12)
    with torch.no_grad():
        torch.testing.assert_close(module(x), module(x.to(memory_format=torch.channels_last)), rtol=1e-5, atol=1e-5)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("ChannelAttention", {"softmax": "max"}, "softmax must be one of released, formula, got 'max'"),
    ("ChannelPositionAttention", {"softmax": "max"}, "softmax must be one of"),
    ("ChannelPositionAttention", {"reduction": 17}, "reduction must be at most"),
    ("ChannelPositionAttention", {"implementation": "fast"}, "implementation must be one of fused, plain"),
    ("DualAttention", {"softmax": "max"}, "softmax must be one of"),
    ("DualAttention", {"reduction": 0}, "reduction must be a positive integer, got 0"),
    ("DualAttention", {"implementation": "fast"}, "implementation must be one of"),
    ("FullyAttentional", {"implementation": "fast"}, "implementation must be one of fused, plain, got 'fast'"),
    ("PCSA", {"heads": 3}, "channels must be divisible by heads, got 16 channels and heads 3"),
    ("PCSA", {"window": 0}, "window must be a positive integer, got 0"),
    ("PCSA", {"window": -1}, "window must be a positive integer, got -1"),
    ("PCSA", {"pooling": "avg"}, "pooling must be one of average, max, recombination, got 'avg'"),
    ("PCSA", {"pooling": "recombination", "window": None}, "recombination needs a window"),
    ("PCSA", {"gate": "sigmoyd"}, "gate must be one of sigmoid, softmax, got 'sigmoyd'"),
    ("PCSA", {"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ("PositionAttention", {"reduction": 17}, r"reduction must be at most the number of channels \(16\), got 17"),
    ("PositionAttention", {"implementation": "fast"}, "implementation must be one of"),
    ("SCSA", {"heads": 3}, "channels must be divisible by heads"),
    ("SCSA", {"kernel_sizes": (3, 5, 7)}, "divisible by number_of_kernel_sizes"),
    ("SCSA", {"gate": "tanh"}, "gate must be one of"),
    ("SMSA", {"kernel_sizes": ()}, "number_of_kernel_sizes must be a positive integer, got 0"),
    ("SMSA", {"kernel_sizes": (3, 4)}, "kernel_sizes must be a positive odd integer, got 4"),
    ("SMSA", {"gate": "tanh"}, "gate must be one of"),
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
