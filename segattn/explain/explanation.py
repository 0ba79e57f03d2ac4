"""Running a model on one image, and keeping what explains its decision on one pixel.

Class evidence is Grad-CAM for segmentation: Vinogradova et al.: Towards Interpretable Semantic Segmentation via
Gradient-weighted Class Activation Mapping. AAAI 2020, https://arxiv.org/abs/2002.11434, equation 2, with the pixel
as the set of pixels, on the last level of the encoder. It is a few lines; the packages that offer it bring much more.

    alpha_k = mean over positions of d y_c / d A_k,    L = ReLU(sum over k of alpha_k A_k)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from segattn.checkpoints import TrainedModel
from segattn.explain.attention_views import View, view, viewed_blocks
from segattn.inference import model_input
from segattn.io.atomic_write import whole_file
from segattn.sample import ClassTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Size = tuple[int, int]


@dataclass(frozen=True)
class Explanation:
    """What a model looked at to decide on one pixel.

    Attributes:
        image: RGB, upright.
        point: (x, y) of the pixel.
        classes: of the model.
        class_index: the class whose evidence is shown: the predicted one unless another was asked for.
        probabilities: of every class at the pixel.
        class_map: probability of that class at every position of the model's input, (h, w).
        evidence: how much every position of the encoder's last level speaks for that class at the pixel, at least 0.
        views: what each attention block did for the pixel, in the order of the model's layers.
        input_size: (height, width) of the model's input, to which the image was resized.
        padded_size: the same with the padding of the model, which the features belong to.
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
        """The class that the model chooses at the pixel."""
        return self.classes.names[int(self.probabilities.argmax())]

    def over_image(self, values: Float[np.ndarray, "feature_h feature_w"]) -> Float[np.ndarray, "h w"]:
        """Bring a map of any of the model's features to the image, pixel by pixel."""
        height, width = self.image.shape[:2]
        smooth = cv2.INTER_NEAREST if np.isnan(values).any() else cv2.INTER_LINEAR
        padded = cv2.resize(values, self.padded_size[::-1], interpolation=smooth)
        own = padded[: self.input_size[0], : self.input_size[1]]
        return cv2.resize(own, (width, height), interpolation=smooth)

    def figures(self) -> "dict[str, Figure]":
        """Figures by name: the class evidence, and one for every attention block."""
        from segattn.explain.figures import all_figures

        return all_figures(self)

    def save(self, folder: str | Path) -> list[Path]:
        """Write all figures as PNG and SVG, and all arrays as ``arrays.npz``; the folder is made if needed.

        Returns:
            The files; each is written whole or not at all.

        Raises:
            OSError: if a file cannot be written.
        """
        from segattn.explain.figures import save_figure

        arrays_file = Path(folder) / "arrays.npz"
        arrays: dict[str, Any] = self.arrays()
        with whole_file(arrays_file) as path:
            np.savez_compressed(path, **arrays)
        written = [path for name, figure in self.figures().items() for path in save_figure(figure, folder, name)]
        return [*written, arrays_file]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, at the resolution it was computed at."""
        own = {"probabilities": self.probabilities, "class map": self.class_map, "evidence": self.evidence}
        return own | {f"{view.layer}/{name}": array for view in self.views for name, array in view.everything().items()}


def explain_pixel(
    trained: TrainedModel, pixels: UInt8[np.ndarray, "h w 3"], point: tuple[int, int], class_name: str | None
) -> Explanation:
    """The work behind :func:`segattn.explain.explain`, on what is loaded already."""
    height, width = pixels.shape[:2]
    x, y = point
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"The point {x},{y} lies outside the image of {width}x{height} pixels.")
    names = trained.classes.names
    if class_name is not None and class_name not in names:
        raise ValueError(f"There is no class {class_name!r}; the classes are: {', '.join(names)}.")
    device = next(trained.model.parameters()).device
    image = rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w")
    tensor = model_input(image, trained.inference, device=device)
    size = (tensor.shape[-2], tensor.shape[-1])
    place = ((x + 0.5) / width, (y + 0.5) / height)

    trace = _Trace(trained.model)
    with trace:
        logits = trained.model(tensor).logits
    at_pixel = _sample(logits, place)
    chosen = int(at_pixel.argmax()) if class_name is None else names.index(class_name)
    evidence = _evidence(at_pixel[chosen], trace.features)
    padded = trace.padded_size
    return Explanation(
        image=pixels,
        point=point,
        classes=trained.classes,
        class_index=chosen,
        probabilities=at_pixel.detach().softmax(dim=0).cpu().numpy(),
        class_map=logits.detach()[0].softmax(dim=0)[chosen].cpu().numpy(),
        evidence=evidence.cpu().numpy(),
        views=trace.views(place, size),
        input_size=size,
        padded_size=padded,
    )


class _Trace:
    """Records, during one forward pass, the encoder's last features and what went through the attention blocks.

    Meanwhile no parameter asks for gradients, so that the encoder keeps nothing for a backward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model
        self._blocks = viewed_blocks(model)
        self._through: dict[str, tuple[Tensor, Tensor]] = {}
        self._hooks: list[Any] = []
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.features = torch.empty(0)
        self.padded_size: Size = (0, 0)

    def __enter__(self) -> "_Trace":
        for parameter in self._trainable:
            parameter.requires_grad_(False)
        self._hooks.append(self._model.encoder.register_forward_hook(self._keep_features))
        for name, block in self._blocks.items():
            self._hooks.append(block.register_forward_hook(self._keeper(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        for parameter in self._trainable:
            parameter.requires_grad_(True)

    def _keep_features(self, module: nn.Module, inputs: tuple[Tensor, ...], output: list[Tensor]) -> list[Tensor]:
        self.padded_size = (int(inputs[0].shape[-2]), int(inputs[0].shape[-1]))
        self.features = output[-1].detach().requires_grad_()  # gradients end here
        return [*output[:-1], self.features]

    def _keeper(self, name: str) -> Any:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._through[name] = (inputs[0].detach()[0], output.detach()[0])

        return keep

    @torch.no_grad()
    def views(self, place: tuple[float, float], size: Size) -> tuple[View, ...]:
        """What the blocks did for the pixel at a relative place (x, y) of an input of the given size."""
        views = []
        for name, (before, after) in self._through.items():
            shares = (place[1] * size[0] / self.padded_size[0], place[0] * size[1] / self.padded_size[1])
            row, column = (int(share * length) for share, length in zip(shares, before.shape[-2:], strict=True))
            views.append(view(name, self._blocks[name], before=before, after=after, pixel=(row, column)))
        return tuple(views)


def _sample(logits: Float[Tensor, "1 k h w"], place: tuple[float, float]) -> Float[Tensor, "k"]:
    """The logits at a relative place (x, y), as bilinear resizing to the image's size has them."""
    grid = torch.tensor(place, device=logits.device).reshape(1, 1, 1, 2) * 2 - 1
    return grid_sample(logits, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0, 0]


def _evidence(logit: Float[Tensor, ""], features: Float[Tensor, "1 c h w"]) -> Float[Tensor, "h w"]:
    """Grad-CAM of one logit on features."""
    (gradient,) = torch.autograd.grad(logit, features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * features.detach()).sum(dim=1).relu()[0]
