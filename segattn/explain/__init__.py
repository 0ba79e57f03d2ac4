"""What a model looked at to decide on one pixel."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from segattn.explain.explanation import Explanation

__all__ = ["explain"]


def explain(model: Any, image: Any, point: tuple[int, int], class_name: str | None = None) -> "Explanation":
    """Explain the decision of a model on one pixel of an image.

    The image is computed in one pass at scale 1, even if the model's inference config has windows, scales or flip.
    :mod:`segattn.explain.figures` draws and saves the explanation.

    Args:
        model: a :class:`segattn.checkpoints.TrainedModel`, or the path of a checkpoint.
        image: RGB as an array (height, width, 3) of uint8, a Pillow image, or the path of a file; for a model of other
            channels, the path or a float32 array (height, width, channels).
        point: (x, y) of the pixel, from the upper left corner.
        class_name: the class to show the evidence for; None takes the class predicted at the pixel.

    Raises:
        FileNotFoundError: if the checkpoint is missing.
        ValueError: if the point is outside the image, the class does not exist, or the image does not have the channels
            of the model.

    Examples:
        >>> from segattn.explain import explain
        >>> explanation = explain("best.ckpt", "photo.jpg", point=(130, 90), class_name="disk")
        >>> explanation.class_name, explanation.evidence.shape
        ('disk', (13, 19))
    """
    from segattn.checkpoints import TrainedModel, load_model
    from segattn.explain.explanation import explain_pixel
    from segattn.io.image_files import read_image
    from segattn.io.raster_files import read_raster

    trained = model if isinstance(model, TrainedModel) else load_model(model)
    channels = trained.model.spec.channels
    dtype = np.dtype(np.uint8 if channels is None else np.float32)
    if isinstance(image, str | Path):
        image = read_image(Path(image)) if channels is None else read_raster(Path(image), channels)
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != (channels or 3) or array.dtype != dtype:
        raise ValueError(
            f"The image must be an array (height, width, {channels or 3}) of {dtype}, got {array.shape} of "
            f"{array.dtype}."
        )
    return explain_pixel(trained, array, point, class_name)
