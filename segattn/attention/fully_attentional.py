"""Fully attentional block: channel attention that keeps its place along rows and columns.

Song et al.: Fully Attentional Network for Semantic Segmentation. AAAI 2022, https://arxiv.org/abs/2112.04108,
equations 2 to 4.

For each of the W columns, the C channels attend to each other: the query is the column's features (C, H), the key an
encoding (C, H) of the whole image (the mean over each row, then a linear layer over channels), the value the
column's features again. Likewise for each of the H rows with the means over columns. Both results are added, scaled
by gamma, added to the input, and pass a 3x3 conv-BN-ReLU.

Differences from the paper: none known. Differences from the released code: there, in a batch of two or more images
the encoding of one image is paired with the features of another (`repeat` where an interleaved repeat is meant); here
every image is paired with its own, so that its output does not depend on the batch. For one image the numbers are the
same, and released weights load (conv1 -> column_encoding, conv2 -> row_encoding), but they were trained with the
mix-up.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from segattn.attention.arguments import require_choice, require_positive
from segattn.attention.dot_product import Implementation, dot_product_attention


def fully_attentional(
    x: Float[Tensor, "b c h w"],
    column_key: Float[Tensor, "b c h"],
    row_key: Float[Tensor, "b c w"],
    *,
    implementation: Implementation = "fused",
) -> Float[Tensor, "b c h w"]:
    """Channel-to-channel attention inside every column plus the same inside every row.

    Args:
        x: the features, query and value at once.
        column_key: the encoding of the image that every column is compared with.
        row_key: the encoding of the image that every row is compared with.
        implementation: ``fused`` never builds the (H + W) maps of C² pairs, ``plain`` does.

    Returns:
        The sum of both in equation 4, without gamma and residual.
    """
    by_column = _along(x, column_key, lines="b w c h", implementation=implementation)
    return by_column + _along(x, row_key, lines="b h c w", implementation=implementation)


def _along(
    x: Float[Tensor, "b c h w"], key: Float[Tensor, "b c n"], *, lines: str, implementation: Implementation
) -> Float[Tensor, "b c h w"]:
    """Channel-to-channel attention inside every column or every row."""
    features = rearrange(x, f"b c h w -> {lines}")
    attended = dot_product_attention(features, key[:, None], features, implementation=implementation)
    return rearrange(attended, f"{lines} -> b c h w")


class FullyAttentional(nn.Module):
    """Fully attentional block with its closing convolution.

    Args:
        channels: of input and output.
        implementation: ``fused`` never builds the (H + W) maps of C² pairs, ``plain`` does; both give the same numbers.

    Raises:
        ValueError: if an argument is outside its range.
    """

    def __init__(self, channels: int, *, implementation: Implementation = "fused") -> None:
        super().__init__()
        require_positive(channels=channels)
        require_choice(("fused", "plain"), implementation=implementation)
        self.implementation = implementation
        self.column_encoding = nn.Linear(channels, channels)
        self.row_encoding = nn.Linear(channels, channels)
        self.conv = Conv2dNormActivation(channels, channels, kernel_size=3)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus gamma times what the channels gathered, through 3x3 conv-BN-ReLU; gamma starts at 0."""
        column_key = self.column_encoding(x.mean(dim=3).mT).mT
        row_key = self.row_encoding(x.mean(dim=2).mT).mT
        mixed = torch.addcmul(
            x, self.gamma, fully_attentional(x, column_key, row_key, implementation=self.implementation)
        )
        refined: Tensor = self.conv(mixed)
        return refined
