"""Batch normalization of pooled vectors, which a batch of one image can train through."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class PooledBatchNorm(nn.BatchNorm1d):
    """Batch norm over vectors (B, C) that takes its running statistics where a batch of one has none of its own.

    ``nn.BatchNorm1d`` fails in training on a single vector, and so would every block that normalizes what it pooled
    from whole images. Everything else is as in ``nn.BatchNorm1d``.
    """

    def forward(self, input: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:  # noqa: D102  (as in the base class)
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)
