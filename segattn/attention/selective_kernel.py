"""Selective kernel: parallel convolutions of several sizes, weighted per channel against each other.

Li et al.: Selective Kernel Networks. CVPR 2019, https://arxiv.org/abs/1903.06586, equations 1 to 6.

    split:   U_m = relu(BN(grouped convolution of kernel size k_m)), U = sum over m (eq. 1)
    fuse:    z = relu(BN(W mean over positions of U)) (eqs. 2, 3), of width max(C / r, L) (eq. 4)
    select:  softmax over m of A_m z (eq. 5), output = sum over m of weight_m * U_m (eq. 6)

Differences from the paper: none known. As there, by default a k x k kernel is a 3x3 kernel of dilation (k - 1) / 2, and
there are 32 groups (if 32 divides the number of channels). With `dilated=False` the kernels are dense.
"""

import math
from collections.abc import Sequence

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import require_odd, require_positive
from segattn.attention.block import AttentionBlock
from segattn.attention.norms import PooledBatchNorm


class SelectiveKernel(AttentionBlock):
    """Selective kernel convolution that keeps the number of channels.

    Args:
        channels: number of input and output channels, divisible by the number of groups.
        kernel_sizes: odd kernel size of each branch.
        dilated: whether a kernel larger than 3x3 is a dilated 3x3 kernel of the same extent.
        groups: number of groups of the convolutions; None uses the greatest common divisor of 32 and channels.
        reduction: the fused vector has ``channels // reduction`` channels, but at least ``min_width``.
        min_width: smallest width of the fused vector, L in the paper.

    Examples:
        >>> import torch
        >>> from segattn.attention import SelectiveKernel
        >>> block = SelectiveKernel(64, kernel_sizes=(3, 5, 7))
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_sizes: Sequence[int] = (3, 5),
        dilated: bool = True,
        groups: int | None = None,
        reduction: int = 16,
        min_width: int = 32,
    ) -> None:
        super().__init__()
        require_odd("kernel_sizes", *kernel_sizes)
        require_positive(reduction=reduction, min_width=min_width)
        groups = math.gcd(channels, 32) if groups is None else groups
        self.branches = nn.ModuleList()
        for kernel_size in kernel_sizes:
            side, dilation = (3, kernel_size // 2) if dilated and kernel_size > 3 else (kernel_size, 1)
            self.branches.append(
                Conv2dNormActivation(channels, channels, kernel_size=side, dilation=dilation, groups=groups)
            )
        width = max(channels // reduction, min_width)
        self.fuse = nn.Sequential(nn.Linear(channels, width, bias=False), PooledBatchNorm(width), nn.ReLU())
        self.select = nn.Linear(width, len(kernel_sizes) * channels, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The weighted mean of the branches."""
        branches = torch.stack([branch(x) for branch in self.branches])
        fused = self.fuse(reduce(branches.sum(dim=0), "b c h w -> b c", "mean"))
        logits = rearrange(self.select(fused), "b (m c) -> m b c", m=len(self.branches))
        selected: Tensor = einsum(branches, logits.softmax(dim=0), "m b c h w, m b c -> b c h w")
        return selected
