"""Channel attention followed by position attention: the stacked non-local baseline of the FLA paper.

Song et al.: Fully Attentional Network for Semantic Segmentation. AAAI 2022, https://arxiv.org/abs/2112.04108, section 1
and figure 1. The other baselines of the paper are separate blocks: "Channel NL" is
:class:`segattn.attention.ChannelAttention`, "Spatial NL" is :class:`segattn.attention.PositionAttention`, and the two
in parallel are :class:`segattn.attention.DualAttention`.

Differences from the paper: unknown, because the code of its baselines was not released. These are the blocks of DANet,
which the paper cites for them.
"""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from segattn.attention.danet import DualAttention


class ChannelPositionAttention(DualAttention):
    """Channel attention, then position attention on its output; arguments as in the base class.

    Examples:
        >>> import torch
        >>> from segattn.attention import ChannelPositionAttention
        >>> block, x = ChannelPositionAttention(64), torch.rand(2, 64, 30, 45)
        >>> block(x).shape
        torch.Size([2, 64, 30, 45])
        >>> torch.allclose(block(x), x)  # both gammas start at 0
        True
    """

    starts_as_identity: ClassVar[bool] = True

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features after both blocks; equal to the input while both gammas are 0."""
        refined: Tensor = self.position(self.channel(x))
        return refined
