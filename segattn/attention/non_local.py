"""Channel attention followed by position attention: the stacked non-local baseline of the FLA paper.

Song et al.: Fully Attentional Network for Semantic Segmentation. AAAI 2022, https://arxiv.org/abs/2112.04108,
section 1 and figure 1. The other baselines of that paper are blocks of their own: its "Channel NL" is
:class:`segattn.attention.ChannelAttention`, its "Spatial NL" is :class:`segattn.attention.PositionAttention`, and
both side by side are :class:`segattn.attention.DualAttention`.

Differences from the paper: the code of its baselines was not released; these are the blocks of DANet, which the paper
cites for them.
"""

from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.danet import ChannelAttention, PositionAttention, Softmax
from segattn.attention.dot_product import Implementation


class ChannelPositionAttention(nn.Module):
    """Channel attention, then position attention on its result.

    Args:
        channels: of input and output, at least ``reduction``.
        reduction: query and key of the position attention have channels // reduction channels.
        softmax: form of the channel attention's softmax, see :class:`segattn.attention.ChannelAttention`.
        implementation: of the position attention, see :class:`segattn.attention.PositionAttention`.

    Raises:
        ValueError: if an argument is outside its range.
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
        """The features after both; the identity while both gammas are 0."""
        refined: Tensor = self.position(self.channel(x))
        return refined
