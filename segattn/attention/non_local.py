"""Channel attention followed by position attention: the stacked non-local baseline of the FLA paper.

Song et al.: Fully Attentional Network for Semantic Segmentation. AAAI 2022, https://arxiv.org/abs/2112.04108, section 1
and figure 1. The other baselines of the paper are separate blocks: "Channel NL" is
:class:`segattn.attention.ChannelAttention`, "Spatial NL" is :class:`segattn.attention.PositionAttention`, and the two
in parallel are :class:`segattn.attention.DualAttention`.

Differences from the paper: unknown, because the code of its baselines was not released. These are the blocks of DANet,
which the paper cites for them.
"""

from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.danet import ChannelAttention, PositionAttention, Softmax
from segattn.attention.dot_product import Implementation


class ChannelPositionAttention(nn.Module):
    """Channel attention, then position attention on its output.

    Args:
        channels: of input and output, at least ``reduction``.
        reduction: query and key of the position attention have ``channels // reduction`` channels.
        softmax: of the channel attention, see :class:`segattn.attention.ChannelAttention`.
        implementation: of the position attention, see :class:`segattn.attention.PositionAttention`.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 8,
        softmax: Softmax = "released",
        implementation: Implementation = "fused",
    ) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, softmax=softmax)
        self.position = PositionAttention(channels, reduction=reduction, implementation=implementation)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features after both blocks; equal to the input while both gammas are 0."""
        refined: Tensor = self.position(self.channel(x))
        return refined
