"""Export of all blocks with dynamic height and width, run by torch and by onnxruntime."""

from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
import torch
from jaxtyping import config
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from segattn import attention
from tests.attention.blocks import build

CHANNELS = 64


class Blocks(nn.Module):
    """All blocks in one module: one export instead of twenty."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(build(getattr(attention, name), CHANNELS, scale=0.1) for name in attention.__all__)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [block(x) for block in self.blocks]


@pytest.fixture(scope="module")
def blocks() -> nn.Module:
    torch.manual_seed(0)
    return Blocks().eval()


@pytest.fixture(scope="module")
def program(blocks: nn.Module) -> Iterator[ExportedProgram]:
    config.update("jaxtyping_disable", True)  # a run-time check of a symbolic size would fix it
    example = torch.randn(2, CHANNELS, 16, 22)  # a multiple of 7 becomes a condition of the program with torch 2.9
    yield torch.export.export(blocks, (example,), dynamic_shapes=({2: Dim.DYNAMIC, 3: Dim.DYNAMIC},))
    config.update("jaxtyping_disable", False)


@pytest.fixture
def x() -> Tensor:
    """A map of a different size than the example."""
    return torch.randn(2, CHANNELS, 15, 30)


def assert_outputs_close(blocks: nn.Module, x: Tensor, outputs: list[Tensor]) -> None:
    with torch.no_grad():
        expected = blocks(x)
    for name, output, reference in zip(attention.__all__, outputs, expected, strict=True):
        torch.testing.assert_close(output, reference, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


def test_exported_program(blocks: nn.Module, program: ExportedProgram, x: Tensor) -> None:
    assert_outputs_close(blocks, x, program.module()(x))


def test_exported_program_has_no_custom_operators(program: ExportedProgram) -> None:
    assert not [node for node in program.graph.nodes if "segattn" in str(node.target)]


def test_onnx(blocks: nn.Module, program: ExportedProgram, x: Tensor) -> None:
    onnx = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False)
    assert onnx is not None
    session = onnxruntime.InferenceSession(onnx.model_proto.SerializeToString())
    (name,) = (entry.name for entry in session.get_inputs())
    outputs = session.run(None, {name: x.numpy()})
    assert_outputs_close(blocks, x, [torch.from_numpy(np.asarray(output)) for output in outputs])
