"""Properties of single blocks beyond the contract."""

import pytest
import torch
from torch import nn

from segattn.attention import PCSA, SCSA, SGE, ChannelAttention, FullyAttentional, SelectiveKernel
from segattn.attention.eca import adaptive_kernel_size
from segattn.attention.norms import PooledBatchNorm
from tests.attention.blocks import build


@pytest.mark.parametrize(("channels", "size"), [(16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)])
def test_eca_kernel_size(channels: int, size: int) -> None:
    assert adaptive_kernel_size(channels) == size


def test_eca_adds_86_weights_to_a_resnet50() -> None:
    widths = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert sum(adaptive_kernel_size(width) for width in widths) == 86


@pytest.mark.parametrize("pooling", ["average", "max", "recombination"])
@pytest.mark.parametrize("size", [(3, 9), (9, 3), (1, 1), (7, 7), (13, 15)])
def test_scsa_on_maps_smaller_than_the_window(pooling: str, size: tuple[int, int]) -> None:
    x = torch.randn(2, 8, *size, requires_grad=True)
    module = build(SCSA, 8, pooling=pooling)
    module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_recombination_ignores_incomplete_windows() -> None:
    module = build(PCSA, 8, window=3, pooling="recombination").eval()
    x = torch.randn(1, 8, 7, 8)
    gates = module(x)[..., 0, 0] / x[..., 0, 0]
    x[:, :, 6:], x[:, :, :, 6:] = 100.0, -100.0
    torch.testing.assert_close(module(x)[..., 0, 0] / x[..., 0, 0], gates)


def test_dropout_only_in_training() -> None:
    module, x = build(PCSA, 8, dropout=0.5), torch.randn(2, 8, 14, 14)
    assert not torch.equal(module.train()(x), module(x))
    torch.testing.assert_close(module.eval()(x), module(x))


def test_parameter_order_of_released_fully_attentional_weights() -> None:
    names = list(FullyAttentional(8).state_dict())
    assert names[:5] == [
        "gamma",
        "column_encoding.weight",
        "column_encoding.bias",
        "row_encoding.weight",
        "row_encoding.bias",
    ]
    assert [name for name in names[5:] if not name.endswith("num_batches_tracked")] == [
        "conv.0.weight",
        "conv.1.weight",
        "conv.1.bias",
        "conv.1.running_mean",
        "conv.1.running_var",
    ]


def test_sge_gradients_on_a_constant_map() -> None:
    x = torch.ones(1, 8, 4, 5, requires_grad=True)
    build(SGE, 8, groups=2)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_pooled_batch_norm() -> None:
    norm = PooledBatchNorm(4)
    norm(torch.randn(8, 4) * 3 + 1)
    x = torch.randn(1, 4)
    trained = norm.train()(x)
    torch.testing.assert_close(trained, norm.eval()(x))
    reference = nn.BatchNorm1d(4)
    reference.load_state_dict(norm.state_dict())
    x = torch.randn(5, 4)
    torch.testing.assert_close(norm.train()(x), reference.train()(x))


def test_receptive_field_of_dilated_kernels() -> None:
    dilated, full = SelectiveKernel(4, kernel_sizes=(3, 7)), SelectiveKernel(4, kernel_sizes=(3, 7), dilated=False)
    assert dilated.branches[1][0].weight.shape[-1] == 3
    assert full.branches[1][0].weight.shape[-1] == 7
    for module in (dilated, full):
        x = torch.zeros(1, 4, 9, 9)
        x[..., 4, 4] = 1
        reach = module.branches[1][0](x).abs().sum(dim=(0, 1)).nonzero()
        assert reach.amin(dim=0).tolist() == [1, 1]
        assert reach.amax(dim=0).tolist() == [7, 7]


@pytest.mark.parametrize("softmax", ["released", "formula"])
def test_channel_attention_keeps_its_energies_under_autocast(softmax: str) -> None:
    """Energies of features after ReLU are in the thousands, where numbers of 16 bits are 8 apart."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(2, 8, 48, 64, generator=generator)
    mixed = torch.einsum("dc,bchw->bdhw", torch.randn(64, 8, generator=generator), base)
    x = (0.3 * mixed + torch.randn(2, 64, 48, 64, generator=generator)).relu().bfloat16()
    block = ChannelAttention(64, softmax=softmax)
    torch.nn.init.ones_(block.gamma)
    exact = block.double()(x.double()) - x.double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gathered = block.float()(x).double() - x.double()
    assert (gathered - exact).norm() < 0.01 * exact.norm()
