"""What every head is: features of the encoder in, logits and named auxiliary logits out, at the head's resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation


@dataclass(frozen=True)
class FeatureInfo:
    """What a head needs to know of an encoder.

    Attributes:
        channels: of every level; level 0 is the normalized image, and an encoder without a level has 0 channels there.
        strides: pixels of the image per pixel of the level, from 1 up to the output stride.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]


class HeadOutput(NamedTuple):
    """Logits of one batch.

    Attributes:
        logits: (b, classes, h, w), the prediction.
        auxiliary: further logits (b, classes, h', w') by name, for losses in training; empty in evaluation.
    """

    logits: Tensor
    auxiliary: dict[str, Tensor]


class Head(nn.Module):
    """Base of all heads. A head knows neither losses nor labels.

    Attributes:
        auxiliary_names: the keys of ``HeadOutput.auxiliary`` in training.
    """

    auxiliary_names: tuple[str, ...] = ()
    min_levels: ClassVar[int] = 1

    def __init__(self, features: FeatureInfo) -> None:
        super().__init__()
        usable = [channels for channels in features.channels[1:] if channels]
        if len(usable) < self.min_levels:
            raise ValueError(
                f"{type(self).__name__} needs an encoder with {self.min_levels} levels of features, got {len(usable)}."
            )

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Turn the features of every level (the first is the image) into logits."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it makes logits.")

    def __call__(self, features: Sequence[Tensor]) -> HeadOutput:
        """Typed as ``forward``."""
        output: HeadOutput = super().__call__(features)
        return output


def conv_classifier(in_channels: int, channels: int, num_classes: int, dropout: float) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU, dropout, 1x1 classifier: the smallest head, and every auxiliary one."""
    return nn.Sequential(
        Conv2dNormActivation(in_channels, channels, kernel_size=3),
        nn.Dropout2d(dropout),
        nn.Conv2d(channels, num_classes, kernel_size=1),
    )
