"""Norms for values that were pooled to few: a batch of one image, or a map of one pixel, passes through them."""

import torch
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


class GroupNorm(nn.GroupNorm):
    """Group norm that takes groups of a single value as well, such as one channel of a map of one pixel.

    ``nn.GroupNorm`` refuses them for a batch of one, even in evaluation. A single value becomes the bias, as in a
    larger batch. Everything else is as in ``nn.GroupNorm``.
    """

    def forward(self, input: Float[Tensor, "b c *size"]) -> Float[Tensor, "b c *size"]:  # noqa: D102  (as in the base)
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
