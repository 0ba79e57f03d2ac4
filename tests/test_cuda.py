"""The same computations on a CUDA device, and small ones on the CPU so that this file is always executed.

``CUDA_VISIBLE_DEVICES=0 pytest -n0 -m cuda`` runs the tests that need a device; without one they are skipped.
"""

import copy
from collections.abc import Iterator
from functools import partial

import pytest
import torch
import yaml
from torch import Tensor, nn

from segattn import attention
from segattn.attention import FullyAttentional, PositionAttention
from segattn.training.command import main
from tests.attention.blocks import build
from tests.heads.test_contract import CLASSES, VARIANTS, features_of, randomized, variant_name
from tests.training.tiny_run import final_state, write_config

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
    ),
]
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Norm of the difference to double precision, of the output and of all gradients, as a fraction of their norm."""

MAPS = {"cpu": [(6, 7)], "cuda": [(64, 64), (97, 97), (64, 128)]}
"""Sizes of features; 97x97 has a number of positions that no kernel's block size divides."""

OPTIONS = {"DisentangledNonLocal": {"temperature": 1.0}}  # the default of 0.05 multiplies rounding by 20
BLOCKS = [
    partial(build, getattr(attention, name), 64, scale=0.2, **OPTIONS.get(name, {})) for name in attention.__all__
]
every_block = pytest.mark.parametrize("block", BLOCKS, ids=attention.__all__)
every_dtype = pytest.mark.parametrize("dtype", list(TOLERANCES), ids=str)
on_both = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """Convolutions on CUDA round single precision to 10 bits by default."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


def results(module: nn.Module, inputs: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Output and the gradients of inputs and parameters; half precision by autocast."""
    inputs = [part.clone().requires_grad_() for part in inputs]
    leaves = [*inputs, *(parameter for parameter in module.parameters() if parameter.requires_grad)]
    half = dtype in (torch.bfloat16, torch.float16)
    with torch.autocast(inputs[0].device.type, dtype=dtype, enabled=half):
        output = module(inputs)
    upstream = torch.linspace(-1, 1, output.numel(), device=output.device, dtype=torch.float64).view(output.shape)
    gradients = torch.autograd.grad(output, leaves, upstream.to(output.dtype), allow_unused=True)
    return [output, *(part for part in gradients if part is not None)]


def assert_equals_double_precision(module: nn.Module, inputs: list[Tensor], device: str, dtype: torch.dtype) -> None:
    module = module.eval()
    references = results(copy.deepcopy(module).double(), [part.double() for part in inputs], torch.float64)
    moved = copy.deepcopy(module).to(device)
    found = results(moved, [part.to(device) for part in inputs], dtype)
    for some, of_these in ((found[:1], references[:1]), (found[1:], references[1:])):
        difference = torch.cat([(a.cpu().double() - b).flatten() for a, b in zip(some, of_these, strict=True)])
        assert difference.norm() <= TOLERANCES[dtype] * torch.cat([part.flatten() for part in of_these]).norm()


class FirstInput(nn.Module):
    """A block as a module that takes a list of features, as heads do."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """The output of the block."""
        return self.block(inputs[0])


class Logits(nn.Module):
    """A head without its auxiliary outputs."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """The logits."""
        return self.head(inputs).logits


@on_both
@every_dtype
@every_block
def test_blocks_equal_double_precision(block, dtype, device):
    assert_equals_double_precision(FirstInput(block()), [torch.randn(2, 64, 9, 12)], device, dtype)


@on_both
@every_dtype
@pytest.mark.parametrize(("factory", "info"), VARIANTS, ids=variant_name)
def test_heads_equal_double_precision(factory, info, dtype, device):
    head = randomized(factory(info, CLASSES))
    for parameter in head.parameters():
        parameter.data.mul_(0.2)
    assert_equals_double_precision(Logits(head), features_of(info, batch=2), device, dtype)


@on_both
@every_dtype
@pytest.mark.parametrize("form", ["eager", "compiled", "channels last", "deterministic"])
@pytest.mark.parametrize("block", [PositionAttention, FullyAttentional])
def test_fused_attention_equals_double_precision(block, form, dtype, device, monkeypatch):
    if device == "cpu" and form == "compiled":
        pytest.skip("the tests of the blocks compile on the CPU")
    for height, width in MAPS[device]:
        module = FirstInput(build(block, 64, scale=0.1))
        x = torch.randn(1, 64, height, width)
        if form == "channels last":
            x, module = x.contiguous(memory_format=torch.channels_last), module.to(memory_format=torch.channels_last)
        if form == "compiled":
            module.block.compile()
        if form == "deterministic":
            monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        try:
            assert_equals_double_precision(module, [x], device, dtype)
        finally:
            torch.use_deterministic_algorithms(False)


@on_both
def test_resumed_training_ends_like_an_uninterrupted_one(device, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load(write_config(tmp_path).read_text())
    config["trainer"] |= {"accelerator": device, "devices": 1, "max_epochs": 2}
    config["model"]["schedule"] = {"power": 0}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "tiny.yaml", "--output", "whole"]) == 0
    assert main(["fit", "--config", "tiny.yaml", "--output", "parts", "--trainer.max_epochs", "1"]) == 0
    assert main(["fit", "--config", "tiny.yaml", "--output", "parts", "--ckpt_path", "last"]) == 0
    (weights, score, steps), (other, other_score, other_steps) = final_state("whole"), final_state("parts")
    assert steps == other_steps
    assert score == pytest.approx(other_score, abs=1e-3)
    for name, value in weights.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)
