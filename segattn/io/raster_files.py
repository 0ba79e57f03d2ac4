"""Reading images with any number of channels as they are: 8 or 16 bits, or floating-point values. No torch.

The files are read by rasterio, which is optional (``pip install 'segattn[tiff]'``).
"""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from segattn.io.error_text import one_line
from segattn.io.image_files import ImageFileError

Pixels: TypeAlias = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w c"]
"""An image: 8-bit RGB, or the channels of a file as they are, unsigned integers divided by their largest value."""

_DRIVERS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG", "WEBP", "BMP")  # files of others may refer to further files


def require_rasterio() -> None:
    """Raise a ValueError if rasterio is not installed."""
    if find_spec("rasterio") is None:
        raise ValueError("Images with `channels` are read by rasterio: pip install 'segattn[tiff]'.")


def read_raster(path: Path, channels: int, *, max_pixels: int | None = None) -> Float32[np.ndarray, "h w c"]:
    """Read all channels of an image, unsigned integers divided by their largest value, neither turned nor clipped.

    Args:
        path: the file.
        channels: the number of channels that it must have.
        max_pixels: largest number of pixels; None for no limit.

    Raises:
        ImageFileError: if the file cannot be read, is too large, or has another number of channels.
        ValueError: if rasterio is not installed.
    """
    require_rasterio()
    from rasterio.errors import RasterioError

    if not path.is_file():
        raise ImageFileError(path, "it does not exist or is not a regular file")
    try:
        with _opened(path) as file:
            if file.driver not in _DRIVERS:
                raise ImageFileError(path, f"it is of type {file.driver}; allowed are {', '.join(_DRIVERS)}")
            if file.count != channels:
                raise ImageFileError(path, f"it has {file.count} channels, but `channels` is {channels}")
            if max_pixels is not None and file.height * file.width > max_pixels:
                size = f"its {file.height * file.width:,} pixels are more than the limit of {max_pixels:,}"
                raise ImageFileError(path, size)
            stored = file.read()
    except RasterioError as error:
        raise ImageFileError(path, one_line(error.__cause__ or error).rstrip(".")) from error
    if stored.dtype.kind not in "iuf":
        raise ImageFileError(path, f"it contains {stored.dtype} values; integers or real numbers are needed")
    values = np.ascontiguousarray(stored.transpose(1, 2, 0), dtype=np.float32)
    if stored.dtype.kind == "u":
        values /= np.iinfo(stored.dtype).max
    elif not np.isfinite(values).all():
        raise ImageFileError(path, "it contains values that are infinite or not a number")
    return values


def channel_moments(image: Float32[np.ndarray, "h w c"]) -> Float64[np.ndarray, "2 c"]:
    """The mean of each channel, and the mean of its squares."""
    double = image.astype(np.float64)
    return np.stack([double.mean((0, 1)), (double**2).mean((0, 1))])


def mean_and_std(moments: Sequence[Float64[np.ndarray, "2 c"]], pixels: Sequence[int]) -> tuple[str, str]:
    """The mean and the standard deviation of each channel as lists of YAML.

    Args:
        moments: moments of images, from :func:`channel_moments`.
        pixels: number of pixels of each image.
    """
    mean, square = np.average(moments, axis=0, weights=pixels)
    std = np.sqrt(np.maximum(square - mean**2, 0))
    texts = [", ".join(f"{value:.4g}" for value in values.tolist()) for values in (mean, std)]
    return f"[{texts[0]}]", f"[{texts[1]}]"


def as_rgb(image: Pixels) -> UInt8[np.ndarray, "h w 3"]:
    """An image to look at: the first three channels (or the first one), stretched from the 2nd to 98th percentile."""
    if image.dtype == np.uint8:
        return image
    shown = image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)
    low, high = np.percentile(shown, (2, 98), axis=(0, 1))
    stretched: UInt8[np.ndarray, "h w 3"] = np.clip((shown - low) / np.maximum(high - low, 1e-6) * 255, 0, 255).astype(
        np.uint8
    )
    return stretched


def georeference(path: Path) -> str | None:
    """The coordinate system and transform of a TIFF file, as GDAL stores them beside a PNG file (``.aux.xml``).

    None if there is none, or rasterio is not installed.
    """
    if path.suffix.lower() not in (".tif", ".tiff") or find_spec("rasterio") is None:
        return None
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with _opened(path) as file:
            place = {"crs": file.crs, "transform": file.transform}
        if place["crs"] is None and place["transform"].is_identity:
            return None
        with TemporaryDirectory() as folder:
            image = Path(folder) / "1.png"
            with rasterio.open(image, "w", driver="PNG", width=1, height=1, count=1, dtype="uint8", **place):
                pass
            return image.with_name("1.png.aux.xml").read_text(encoding="utf-8")
    except (RasterioError, OSError):
        return None


def _opened(path: Path) -> Any:
    """The file, opened by rasterio."""
    import rasterio

    warnings.filterwarnings("ignore", message="Dataset has no geotransform")  # catch_warnings is not for threads
    return rasterio.open(path)
