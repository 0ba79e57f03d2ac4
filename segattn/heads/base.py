"""The interface of all heads: encoder features in, logits and named auxiliary logits out, at the head resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation


@dataclass(frozen=True)
class FeatureInfo:
    """What a head needs to know about an encoder.

    Attributes:
        channels: number of channels of each level. Level 0 is the normalized image. A level that the encoder lacks
            has 0 channels.
        strides: stride of each level: pixels of the image per pixel of the level, from 1 to the output stride.

    Examples:
        >>> from segattn.heads import FeatureInfo
        >>> features = FeatureInfo(channels=(3, 64, 256, 512), strides=(1, 2, 4, 8))
        >>> len(features.channels), features.strides[-1]  # levels, pixels of the image per pixel of the last level
        (4, 8)
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def levels_from(self, finest: int) -> list[int]:
        """The levels of stride ``finest`` and above that the encoder has."""
        levels = enumerate(zip(self.channels, self.strides, strict=True))
        return [level for level, (width, stride) in levels if width and stride >= finest]


class HeadOutput(NamedTuple):
    """Logits of one batch.

    Attributes:
        logits: (b, classes, h, w), the prediction.
        auxiliary: more logits (b, classes, h', w') by name, for the losses in training. Empty in evaluation.

    Examples:
        >>> import torch
        >>> from segattn.heads import HeadOutput
        >>> output = HeadOutput(torch.rand(2, 19, 8, 12), auxiliary={"stage3": torch.rand(2, 19, 8, 12)})
        >>> output.logits.argmax(1).shape
        torch.Size([2, 8, 12])
    """

    logits: Tensor
    auxiliary: dict[str, Tensor]


class Head(nn.Module):
    """Base class of all heads. A head knows neither losses nor labels.

    Attributes:
        auxiliary_names: the keys of ``HeadOutput.auxiliary`` in training.
        min_levels: number of encoder levels that the head uses.

    Raises:
        ValueError: if the encoder has too few levels.

    Examples:
        >>> import torch
        >>> from segattn.heads import FeatureInfo, Head, HeadOutput
        >>> class LinearHead(Head):
        ...     def __init__(self, features, num_classes):
        ...         super().__init__(features)
        ...         self.classifier = torch.nn.Conv2d(features.channels[-1], num_classes, 1)
        ...     def forward(self, features):
        ...         return HeadOutput(self.classifier(features[-1]), {})
        >>> head = LinearHead(FeatureInfo(channels=(3, 16, 32), strides=(1, 2, 4)), num_classes=19)
        >>> head([torch.rand(2, 3, 64, 96), torch.rand(2, 16, 32, 48), torch.rand(2, 32, 16, 24)]).logits.shape
        torch.Size([2, 19, 16, 24])
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
        self.stage3: nn.Module | None = None

    def add_stage3(self, features: FeatureInfo, channels: int | None, num_classes: int, dropout: float) -> None:
        """Add an auxiliary FCN head on the second to last level, as OpenMMLab does, if ``channels`` is given."""
        if channels is not None:
            self.stage3 = conv_classifier(features.channels[-2], channels, num_classes, dropout)
            self.auxiliary_names = (*self.auxiliary_names, "stage3")

    def stage3_logits(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """The auxiliary logits of ``stage3`` in training, if the head has it."""
        return {"stage3": self.stage3(features[-2])} if self.training and self.stage3 is not None else {}

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Compute logits from the features of all levels; the first level is the image."""
        raise NotImplementedError(f"{type(self).__name__} does not implement forward.")

    def __call__(self, features: Sequence[Tensor]) -> HeadOutput:
        """Call the module, with the types of ``forward``."""
        output: HeadOutput = super().__call__(features)
        return output


def conv_classifier(
    in_channels: int, channels: int, num_classes: int, dropout: float, *, kernel_size: int = 3
) -> nn.Sequential:
    """Convolution, batch norm, ReLU, dropout, 1x1 classifier."""
    return nn.Sequential(
        Conv2dNormActivation(in_channels, channels, kernel_size=kernel_size),
        nn.Dropout2d(dropout),
        nn.Conv2d(channels, num_classes, kernel_size=1),
    )
