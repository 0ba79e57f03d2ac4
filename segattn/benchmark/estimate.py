"""Memory that a module needs, estimated from shapes alone: nothing is computed."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segattn.benchmark.measure import IMAGE_CHANNELS, Shape

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class TensorMemory(TorchDispatchMode):
    """Counts the bytes of all ``live`` tensors inside a ``with`` block, and their ``peak``.

    Workspaces of kernels and memory reserved by the allocator are not counted. Existing ``tensors`` count from the
    start.
    """

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.live = self.peak = 0
        self._followed: set[int] = set()
        for tensor in tensors:
            self._follow(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf)
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._followed:
            self._followed.add(key)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._release, key, storage.nbytes())

    def _release(self, key: int, size: int) -> None:
        self._followed.discard(key)
        self.live -= size


def estimate_memory(module: nn.Module, shape: Shape, optimizer: OptimizerFactory | None = None) -> tuple[int, int]:
    """Estimate the peak bytes of all tensors, including weights, of a prediction and of a training step.

    The module is moved to the meta device, where tensors have shapes but no values. The training step is the second
    one, when the optimizer has state.
    """
    module.to("meta")
    weights = [*module.parameters(), *module.buffers()]
    with torch.device("meta"), torch.no_grad(), TensorMemory(weights) as prediction:
        module.eval()(torch.empty(shape))
    module.train()
    steps = optimizer(module.parameters()) if optimizer else None
    with torch.device("meta"), TensorMemory(weights) as training:
        for _ in range(2):
            output = module(torch.empty(shape, requires_grad=shape[1] != IMAGE_CHANNELS))
            torch.autograd.backward(output, torch.ones_like(output))
            del output
            if steps:
                with torch.device("cpu"):  # Adam reads its count of steps
                    steps.step()
            module.zero_grad()
    return prediction.peak, training.peak
