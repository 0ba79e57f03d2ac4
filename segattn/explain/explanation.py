"""The explanation of one pixel: class evidence, class probabilities and the attention blocks of the model.

The evidence is Grad-CAM (Selvaraju et al., ICCV 2017, https://arxiv.org/abs/1610.02391) of the class logit at one
pixel, as in Seg-Grad-CAM (Vinogradova et al., AAAI 2020, https://arxiv.org/abs/2002.11434), on the last level of the
encoder: relu(sum_c w_c A_c), where w_c is the mean gradient of the logit with respect to the channel A_c.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from segattn.checkpoints import TrainedModel
from segattn.explain.attention_views import View, identity_gamma, view, viewed_blocks
from segattn.inference import infer_bands
from segattn.io.raster_files import Pixels, as_rgb
from segattn.sample import ClassTable

Size = tuple[int, int]


@dataclass(frozen=True)
class Explanation:
    """What a model looked at to decide on one pixel.

    Attributes:
        point: (x, y) of the pixel in the image.
        class_index: class whose evidence is shown.
        probabilities: probability of every class at the pixel.
        class_map: probability of that class over the model's input.
        evidence: non-negative Grad-CAM of that class at the pixel, over the encoder's last level.
        views: what each attention block did for the pixel, in the order of the model's layers.
        input_size: (height, width) to which the image was resized.
        padded_size: the same with the padding of the model, which the features cover.
    """

    image: UInt8[np.ndarray, "h w 3"]
    point: tuple[int, int]
    classes: ClassTable
    class_index: int
    probabilities: Float[np.ndarray, "classes"]
    class_map: Float[np.ndarray, "input_h input_w"]
    evidence: Float[np.ndarray, "feature_h feature_w"]
    views: tuple[View, ...]
    input_size: Size
    padded_size: Size

    @property
    def class_name(self) -> str:
        """The class whose evidence is shown."""
        return self.classes.names[self.class_index]

    @property
    def predicted(self) -> str:
        """The class predicted at the pixel."""
        return self.classes.names[int(self.probabilities.argmax())]

    def over_image(self, values: Float[np.ndarray, "feature_h feature_w"]) -> Float[np.ndarray, "h w"]:
        """Resize a map over the model's features to the image."""
        height, width = self.image.shape[:2]
        smooth = cv2.INTER_NEAREST if np.isnan(values).any() else cv2.INTER_LINEAR
        padded = cv2.resize(values, self.padded_size[::-1], interpolation=smooth)
        without_padding = padded[: self.input_size[0], : self.input_size[1]]
        return cv2.resize(without_padding, (width, height), interpolation=smooth)

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, at the resolution they were computed at."""
        named = {"probabilities": self.probabilities, "class map": self.class_map, "evidence": self.evidence}
        return named | {f"{view.layer}/{name}": array for view in self.views for name, array in view.arrays().items()}


def explain_pixel(trained: TrainedModel, pixels: Pixels, point: tuple[int, int], class_name: str | None) -> Explanation:
    """Explain a pixel of an image that is in memory; see :func:`segattn.explain.explain`."""
    height, width = pixels.shape[:2]
    x, y = point
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"The point {x},{y} is outside the image of {width}x{height} pixels.")
    names = trained.classes.names
    if class_name is not None and class_name not in names:
        raise ValueError(f"There is no class {class_name!r}; the classes are: {', '.join(names)}.")
    image = rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w")
    one_pass = replace(trained.inference, window=None, stride=None, whole_image_weight=0.0, scales=(1.0,), flip=False)
    with _recorded(trained.model) as record:
        bands = infer_bands(trained.logits, image, one_pass, device=next(trained.model.parameters()).device)
        at_pixel = next(
            logits[0, :, y - area.top, x - area.left]
            for area, logits in bands
            if area.top <= y < area.bottom and area.left <= x < area.right
        )
    chosen = int(at_pixel.argmax()) if class_name is None else names.index(class_name)
    input_height, input_width = record.logits.shape[-2:]
    padded_height, padded_width = record.padded_size
    place = ((y + 0.5) / height * input_height / padded_height, (x + 0.5) / width * input_width / padded_width)
    return Explanation(
        image=as_rgb(pixels),
        point=point,
        classes=trained.classes,
        class_index=chosen,
        probabilities=at_pixel.detach().softmax(dim=0).cpu().numpy(),
        class_map=record.logits[0].softmax(dim=0)[chosen].cpu().numpy(),
        evidence=_grad_cam(at_pixel[chosen], record.features).cpu().numpy(),
        views=_views(trained.model, record, place),
        input_size=(input_height, input_width),
        padded_size=record.padded_size,
    )


@dataclass
class _Record:
    """Results of one forward pass of a model."""

    logits: Tensor = field(default_factory=Tensor)
    features: Tensor = field(default_factory=Tensor)  # of the encoder's last level; gradients end there
    padded_size: Size = (0, 0)  # of the encoder's input
    blocks: dict[str, tuple[list[Tensor], Tensor]] = field(default_factory=dict)  # inputs, output (c, h, w) by layer


@contextmanager
def _recorded(model: Any) -> Iterator[_Record]:
    """Record a forward pass of a model, without gradients of its parameters."""
    record = _Record()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def keep_features(module: nn.Module, inputs: tuple[Tensor, ...], output: list[Tensor]) -> list[Tensor]:
        record.padded_size = (inputs[0].shape[-2], inputs[0].shape[-1])
        record.features = output[-1].detach().requires_grad_()
        return [*output[:-1], record.features]

    def keep_block(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        record.blocks[name] = ([part.detach()[0] for part in inputs], output.detach()[0])

    def keep_logits(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        record.logits = output.logits.detach().float()

    hooks = [model.encoder.register_forward_hook(keep_features), model.register_forward_hook(keep_logits)]
    hooks += [block.register_forward_hook(partial(keep_block, name)) for name, block in viewed_blocks(model).items()]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield record
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)


@torch.no_grad()
def _views(model: nn.Module, record: _Record, place: tuple[float, float]) -> tuple[View, ...]:
    """What the blocks did at a place (y, x), relative to the size of the encoder's input."""
    views = []
    for name, block in viewed_blocks(model).items():
        (before, *others), after = record.blocks[name]
        pixel = (int(place[0] * before.shape[-2]), int(place[1] * before.shape[-1]))
        gamma = identity_gamma(model, name)
        views.append(view(name, block, before=before, after=after, pixel=pixel, gamma=gamma, others=others))
    return tuple(views)


def _grad_cam(score: Float[Tensor, ""], features: Float[Tensor, "1 c h w"]) -> Float[Tensor, "h w"]:
    """Grad-CAM: features summed with the mean gradients of their channels as weights, without negative values."""
    (gradient,) = torch.autograd.grad(score, features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * features.detach()).sum(dim=1).relu()[0]
