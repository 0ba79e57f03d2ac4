"""The decoders of segmentation-models-pytorch as heads, for comparisons under the same training setup.

Papers and code: https://smp.readthedocs.io.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from segattn.heads.base import FeatureInfo, Head, HeadOutput

Decoder = Literal["deeplabv3plus", "fpn", "pspnet", "segformer", "unet", "unetplusplus", "upernet"]


class SMPDecoder(Head):
    """A decoder of segmentation-models-pytorch, dropout and a 1x1 classifier.

    Args:
        features: channels and strides of the levels of the encoder.
        num_classes: number of output channels.
        decoder: name of the decoder. ``fpn`` and ``unetplusplus`` need output stride 32, ``deeplabv3plus`` 8 or 16.
        channels: width of the decoder; for the U-Nets the width of the deepest block, which halves at each step up.
        dropout: probability of dropping a channel before the classifier.

    Examples:
        >>> import torch
        >>> from segattn.heads import FeatureInfo, SMPDecoder
        >>> features = FeatureInfo(channels=(3, 8, 16, 24, 32, 64), strides=(1, 2, 4, 8, 16, 32))
        >>> head = SMPDecoder(features, num_classes=19, decoder="unet")
        >>> output = head([torch.rand(2, c, 64 // s, 96 // s) for c, s in zip(features.channels, features.strides)])
        >>> output.logits.shape
        torch.Size([2, 19, 64, 96])
    """

    min_levels = 4

    def __init__(
        self,
        features: FeatureInfo,
        num_classes: int,
        *,
        decoder: Decoder,
        channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(features)
        self.decoder, width = _build(decoder, features, channels)
        self.classifier = nn.Sequential(nn.Dropout2d(dropout), nn.Conv2d(width, num_classes, kernel_size=1))

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the resolution of the decoder."""
        return HeadOutput(self.classifier(self.decoder(list(features))), {})


def _build(decoder: Decoder, features: FeatureInfo, channels: int) -> tuple[nn.Module, int]:
    """The decoder and its number of output channels."""
    encoder: dict[str, Any] = {"encoder_channels": list(features.channels)}
    depth = len(features.channels) - 1
    stride = features.strides[-1]
    allowed = {"deeplabv3plus": (8, 16), "fpn": (32,), "unetplusplus": (32,)}.get(decoder, (8, 16, 32))
    if stride not in allowed:
        raise ValueError(f"The decoder {decoder} needs output stride {' or '.join(map(str, allowed))}, got {stride}.")
    halved = [max(1, channels // 2**step) for step in range(depth)]
    match decoder:
        case "deeplabv3plus":
            rates = (12, 24, 36) if stride == 8 else (6, 12, 18)
            options: dict[str, Any] = {"atrous_rates": rates, "aspp_separable": True, "aspp_dropout": 0.5}
            options |= {"encoder_depth": depth, "out_channels": channels, "output_stride": stride}
            return DeepLabV3PlusDecoder(**encoder, **options), channels
        case "fpn":
            options = {"pyramid_channels": channels, "segmentation_channels": channels // 2, "dropout": 0.0}
            return FPNDecoder(**encoder, encoder_depth=depth, **options), channels // 2
        case "pspnet":
            return PSPDecoder(**encoder, out_channels=channels, dropout=0.0), channels
        case "segformer":
            return SegformerDecoder(**encoder, encoder_depth=depth, segmentation_channels=channels), channels
        case "unet":
            return UnetDecoder(**encoder, decoder_channels=halved, n_blocks=depth), halved[-1]
        case "unetplusplus":
            return UnetPlusPlusDecoder(**encoder, decoder_channels=halved, n_blocks=depth), halved[-1]
        case "upernet":
            return UPerNetDecoder(**encoder, encoder_depth=depth, decoder_channels=channels), channels
        case _:
            raise ValueError(f"decoder must be one of {', '.join(get_args(Decoder))}, got {decoder!r}.")
