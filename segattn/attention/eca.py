"""Efficient channel attention: one weight per channel from the means of neighboring channels.

Wang et al.: ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks. CVPR 2020,
https://arxiv.org/abs/1910.03151, equations 9 and 12.

    output = x * sigmoid(1-D convolution over channels of the mean over positions)

Differences from the paper: none. Difference from the released code: there the kernel size is an argument; here it
follows from the number of channels by equation 12 unless given.
"""

import math

from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.arguments import require_odd
from segattn.attention.block import AttentionBlock


def adaptive_kernel_size(channels: int) -> int:
    """The odd kernel size of equation 12: (log2(channels) + 1) / 2 as an integer, plus 1 if even."""
    size = int((math.log2(channels) + 1) / 2)
    return size if size % 2 else size + 1


class ECA(AttentionBlock):
    """Efficient channel attention.

    Args:
        channels: number of input and output channels.
        kernel_size: odd number of neighboring channels; None uses ``adaptive_kernel_size``.

    Examples:
        >>> import torch
        >>> from segattn.attention import ECA
        >>> block = ECA(64, kernel_size=3)
        >>> block(torch.rand(2, 64, 30, 45)).shape
        torch.Size([2, 64, 30, 45])
        >>> sum(weights.numel() for weights in block.parameters())
        3
    """

    def __init__(self, channels: int, *, kernel_size: int | None = None) -> None:
        super().__init__()
        kernel_size = adaptive_kernel_size(channels) if kernel_size is None else kernel_size
        require_odd("kernel_size", kernel_size)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features times one weight per channel."""
        logits: Tensor = self.conv(x.mean(dim=(2, 3))[:, None])
        return x * logits.sigmoid()[:, 0, :, None, None]
