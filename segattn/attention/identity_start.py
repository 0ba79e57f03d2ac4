"""Attention that starts as the identity, so that pretrained features pass unchanged at the first step.

    output = x + gamma * (block(x) - x),  one learned gamma per channel that starts at 0

At gamma 1 this is the published block. A gate that starts at sigmoid(0) halves pretrained features instead, and three
of them leave an eighth. The idea of a residual factor that starts at 0 is that of ReZero (Bachlechner et al., UAI 2021,
https://arxiv.org/abs/2003.04887) and of gamma in DANet. Applied to whole blocks, it is a design of this project.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.block import BlockFactory


class IdentityStart(nn.Module):
    """An attention block whose effect is scaled by a learned gamma that starts at 0.

    Training excludes gamma from weight decay.

    Args:
        block: maps (B, C, H, W) to the same shape.
        channels: number of input and output channels, C.
    """

    def __init__(self, block: nn.Module, channels: int) -> None:
        super().__init__()
        self.block = block
        self.gamma = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The features plus gamma times the change that the block makes."""
        return torch.addcmul(x, self.gamma[:, None, None], self.block(x) - x)


def attention_block(factory: BlockFactory, channels: int, *, identity_start: bool) -> nn.Module:
    """Make an attention block as published, or so that it starts as the identity.

    A block whose class says ``starts_as_identity = True``, because its own gamma starts at 0, is never wrapped: with
    two factors of 0 in a row, neither would get a gradient.

    Args:
        factory: makes the block from its number of channels.
        channels: number of input and output channels.
        identity_start: whether the block must return its input at the first step.
    """
    block = factory(channels)
    unwrapped = not identity_start or getattr(block, "starts_as_identity", False)
    return block if unwrapped else IdentityStart(block, channels)
