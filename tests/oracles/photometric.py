"""OpenMMLab's photometric distortion in plain floating point, one step after the other."""

import colorsys

import numpy as np


def distort(
    image: np.ndarray, *, brightness: float, contrast: float, saturation: float, hue: int, contrast_first: bool
) -> np.ndarray:
    """The distorted image; hue in the 180 steps of OpenCV's circle."""
    pixels = np.clip(image.astype(float) + brightness, 0, 255)
    if contrast_first:
        pixels = np.clip(pixels * contrast, 0, 255)
    for position in np.ndindex(pixels.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(pixels[position] / 255))
        pixels[position] = 255 * np.array(colorsys.hsv_to_rgb((h + hue / 180) % 1, min(1, s * saturation), v))
    return pixels if contrast_first else np.clip(pixels * contrast, 0, 255)
