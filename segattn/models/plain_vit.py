"""Plain vision transformers of timm as encoders: DINOv2, DINOv3, MAE, CLIP, SAM and others.

Dosovitskiy et al.: An Image is Worth 16x16 Words. ICLR 2021, https://arxiv.org/abs/2010.11929.
"""

import math
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

LEVELS = 4


class PlainViT(nn.Module):
    """The patch tokens after each quarter of the blocks, as feature maps of one resolution.

    Class and register tokens are dropped. Position embeddings are interpolated to the size of the image, or rotary.
    Images are padded to a multiple of the patch. Features of patches whose side is not a power of two (14) are resized
    to the stride of the nearest one (16).

    Args:
        name: name of the model in timm.
        pretrained: whether to download its weights.

    Attributes:
        stride: pixels of the image per pixel of the features, a power of two.
        channels: number of channels of the features.

    Raises:
        ValueError: if the model is not a plain vision transformer of at least four blocks for images of any size.
    """

    def __init__(self, name: str, *, pretrained: bool) -> None:
        super().__init__()
        with torch.device("meta"):
            blocks = getattr(timm.create_model(name, num_classes=0), "blocks", ())
        if len(blocks) < LEVELS:
            raise ValueError(f"it is not a plain vision transformer with {LEVELS} blocks or more (try tu-{name})")
        last = [len(blocks) * quarter // LEVELS - 1 for quarter in range(1, LEVELS + 1)]
        any_size = {} if name.startswith("samvit") else {"dynamic_img_size": True}  # SAM's takes any size as it is
        options: dict[str, Any] = {"pretrained": pretrained, "features_only": True, "out_indices": last, **any_size}
        try:
            getter: Any = timm.create_model(name, **options)
        except TypeError as error:
            raise ValueError("timm builds it for images of one size only") from error
        patch, *others = set(getter.feature_info.reduction())
        if others:
            raise ValueError(f"it is not a plain vision transformer: its features have several strides (try tu-{name})")
        self.model, self._indices, self._patch = getter.model, getter.out_indices, patch
        self.stride = 2 ** round(math.log2(patch))
        self.channels: int = getter.feature_info.channels()[-1]

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The image and the features (b, channels, h / stride, w / stride); h and w are multiples of the stride."""
        x = image
        if self._patch != self.stride:
            missing = [(side + self._patch - 1) // self._patch * self._patch - side for side in image.shape[-2:]]
            x = pad(image, (0, missing[1], 0, missing[0]), mode="replicate")
        features = self.model.forward_intermediates(x, indices=self._indices, intermediates_only=True)
        if self._patch != self.stride:  # the scale, not the size, is given, so that nothing is shifted by the padding
            scale = self._patch / self.stride
            features = [interpolate(each, scale_factor=scale, mode="bilinear") for each in features]
        return [image, *features]

    def own_names(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of timm or of the authors' repositories (DINOv2, DINOv3, CLIP, SAM) by the names of this module.

        Position embeddings of another image size, and patch embeddings of another patch size, are resized.
        """
        prefixed = all(key.startswith("model.") for key in weights)  # those of features_only
        plain = {key.removeprefix("model.") if prefixed else key: value for key, value in weights.items()}
        convert: Any = getattr(sys.modules[type(self.model).__module__], "checkpoint_filter_fn", lambda state, _: state)
        with redirect_stdout(StringIO()):  # it prints the weights that it leaves out
            converted = convert(plain, self.model)
        return {f"model.{key}": value for key, value in converted.items()}
