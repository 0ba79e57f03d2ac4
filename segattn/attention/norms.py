"""Normalization layers that also work on a single image or a 1x1 map."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class PooledBatchNorm(nn.BatchNorm1d):
    """Batch norm of vectors (B, C) that uses the running statistics when training on a batch of one.

    ``nn.BatchNorm1d`` raises an error for a single vector in training, so blocks that normalize globally pooled
    features could not train on one image. Otherwise identical to ``nn.BatchNorm1d``.
    """

    def forward(self, input: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:  # noqa: D102 - as in the base class
        if self.training and len(input) == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class GroupNorm(nn.GroupNorm):
    """Group norm that accepts groups of a single value, such as one channel of a 1x1 map.

    ``nn.GroupNorm`` raises an error for them if the batch has one image, even in evaluation. A single value becomes the
    bias, as in a larger batch. Otherwise identical to ``nn.GroupNorm``.
    """

    def forward(self, input: Float[Tensor, "b c *size"]) -> Float[Tensor, "b c *size"]:  # noqa: D102 - as in the base
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
