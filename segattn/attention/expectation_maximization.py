"""Expectation-maximization attention: attention to a few bases, which are estimated from the image.

Li et al.: Expectation-Maximization Attention Networks for Semantic Segmentation. ICCV 2019,
https://arxiv.org/abs/1907.13426, section 3. Not the efficient multi-scale attention that is also abbreviated EMA.

With X the features (N, C) of an image after a 1x1 convolution, and bases M (K, C) of length 1, each iteration computes

    E step:  Z = softmax over the bases of (X Mᵀ)
    M step:  M_k = sum_n Z_nk X_n / sum_n Z_nk, scaled to length 1

and Z M of the last iteration replaces X. In training, the initial bases are the moving average of the final bases, over
batches and processes. ReLU, a 1x1 conv-BN, the residual and a ReLU follow.

Differences from the paper: none known. As in the released code, the iterations are computed without gradients. The
first convolution would therefore never be trained; it is frozen, as in OpenMMLab's code.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from segattn.attention.block import AttentionBlock


def expectation_maximization(
    x: Float[Tensor, "b n c"], bases: Float[Tensor, "#b c k"], iterations: int
) -> tuple[Float[Tensor, "b n k"], Float[Tensor, "b c k"]]:
    """The weights of all bases at each position, and the bases of each image, after some iterations."""
    weights = x  # replaced in the first iteration
    for _ in range(iterations):
        weights = (x @ bases).softmax(dim=-1)
        bases = F.normalize(x.mT @ F.normalize(weights, p=1, dim=1), dim=1)
    return weights, bases


class ExpectationMaximizationAttention(AttentionBlock):
    """Features plus their reconstruction from a few bases.

    Args:
        channels: number of input and output channels.
        bases: number of bases.
        iterations: number of iterations of the estimation, at least 1.
        momentum: weight of a batch in the moving average of the bases, in 0..1.

    Examples:
        >>> import torch
        >>> from segattn.attention import ExpectationMaximizationAttention
        >>> block = ExpectationMaximizationAttention(64, bases=16)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
    """

    bases: Tensor

    def __init__(self, channels: int, *, bases: int = 64, iterations: int = 3, momentum: float = 0.1) -> None:
        super().__init__()
        if bases < 1 or iterations < 1:
            raise ValueError(f"bases and iterations must be at least 1, got {bases} and {iterations}.")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be between 0 and 1, got {momentum}.")
        self.iterations = iterations
        self.momentum = momentum
        self.project = nn.Conv2d(channels, channels, kernel_size=1).requires_grad_(False)
        self.register_buffer("bases", F.normalize(torch.randn(1, channels, bases), dim=1))
        self.out = Conv2dNormActivation(channels, channels, kernel_size=1, activation_layer=None)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """ReLU of the features plus what their reconstruction adds."""
        weights, bases = self.estimate(x)
        if self.training:
            self._update(bases)
        reconstructed = rearrange(weights @ bases.mT, "b (h w) c -> b c h w", h=x.shape[2])
        return F.relu(x + self.out(F.relu(reconstructed)))

    def estimate(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b n k"], Float[Tensor, "b c k"]]:
        """The weights of all bases at each position, and the bases of each image; without gradients."""
        features = rearrange(self.project(x.detach()), "b c h w -> b (h w) c")
        return expectation_maximization(features, self.bases, self.iterations)

    def _update(self, bases: Float[Tensor, "b c k"]) -> None:
        """Move the initial bases toward the mean of the given ones, over all images and processes."""
        mean = bases.mean(dim=0, keepdim=True).to(self.bases.dtype)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(mean)  # the length of the sum does not matter
        self.bases.lerp_(F.normalize(mean, dim=1), self.momentum)
