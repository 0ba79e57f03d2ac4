"""Label maps as colors over their image."""

import cv2
import numpy as np
from jaxtyping import Integer, UInt8


def blend(
    image: UInt8[np.ndarray, "h w 3"],
    labels: Integer[np.ndarray, "h w"],
    palette: UInt8[np.ndarray, "classes 3"],
    *,
    opacity: float = 0.5,
) -> UInt8[np.ndarray, "h w 3"]:
    """Blend the colors of the classes with an RGB image; other pixels, such as ignored ones, show only the image."""
    known = (labels >= 0) & (labels < len(palette))
    colors = palette[np.where(known, labels, 0)]
    mixed = cv2.addWeighted(image, 1 - opacity, colors, opacity, 0)
    return mixed if known.all() else np.where(known[..., None], mixed, image)
