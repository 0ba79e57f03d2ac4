"""Reading any image file as upright 8-bit RGB, and resizing images. No torch."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from segattn.io.error_text import one_line

# Pillow warns from 89 million pixels on; `segattn predict` has its own limit.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".avif"),
)
"""Lower-case extensions of the image files that are found in folders; a file given by name may have any."""

BAND_ROWS = 256
"""Images are converted in bands of rows, so that large ones are not in memory three times."""


class ImageFileError(ValueError):
    """A file cannot be read as an image."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The file {path} cannot be read as an image: {reason}.")
        self.reason = reason


class ImageFile:
    """An open image file. The pixels are decoded by :meth:`read` or :meth:`stored`.

    Its notes say what a user should know: 16 bits are scaled to 8, or only the first of several frames is read.
    """

    def __init__(self, path: Path, image: Image.Image) -> None:
        self.path = path
        self.notes = _notes(image)
        self._image = image

    def stored(self) -> Image.Image:
        """Decode the image as it is stored, neither turned nor converted, such as a label file."""
        with _errors_of(self.path):
            self._image.load()
            return self._image

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """Decode the image as upright RGB, once: the decoded file is then released."""
        with _errors_of(self.path):
            ImageOps.exif_transpose(self._image, in_place=True)
            pixels = _to_rgb(self._image, self.path)
        self._image.close()  # frees Pillow's copy, four bytes per pixel; leaving the ``with`` block would not
        return pixels


@contextmanager
def open_image(path: Path, *, max_pixels: int | None = None) -> Iterator[ImageFile]:
    """Open an image file; it is closed at the end of the ``with`` block.

    Args:
        path: the file.
        max_pixels: largest number of pixels; None applies Pillow's limit.

    Raises:
        ImageFileError: if it is not an image, or too large.
    """
    with _errors_of(path):
        if path.exists() and not path.is_file():
            raise ImageFileError(path, "it is not a regular file")
        if path.stat().st_size == 0:
            raise ImageFileError(path, "it is empty")
        image = Image.open(path)
    with image:
        with _errors_of(path):
            opened = ImageFile(path, image)
        pixels = image.height * image.width
        if max_pixels is not None and pixels > max_pixels:
            raise ImageFileError(path, f"its {pixels:,} pixels are more than the limit of {max_pixels:,}")
        yield opened


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file as upright RGB, following its EXIF orientation.

    Alpha is dropped, 16 bits are scaled to 8, and only the first of several frames is read.

    Raises:
        ImageFileError: if the file cannot be read.
    """
    with open_image(path) as opened:
        return opened.read()


def resize_image(image: Shaped[np.ndarray, "h w c"], size: tuple[int, int]) -> Shaped[np.ndarray, "new_h new_w c"]:
    """Resize an image: area average (no aliasing) if it shrinks, bilinear if it grows."""
    height, width, channels = image.shape
    if (height, width) == size:
        return image
    interpolation = cv2.INTER_AREA if size[0] * size[1] < height * width else cv2.INTER_LINEAR
    if channels == 3:
        return cv2.resize(image, size[::-1], interpolation=interpolation)
    parts = [cv2.resize(image[..., index], size[::-1], interpolation=interpolation) for index in range(channels)]
    return np.stack(parts, axis=-1)


def _to_rgb(image: Image.Image, path: Path) -> UInt8[np.ndarray, "h w 3"]:
    if image.mode == "F":
        raise ImageFileError(path, "it contains floating-point values; 8 or 16-bit values are needed")
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow would clip instead of scaling
        values = np.asarray(image)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise ImageFileError(path, "it contains 32-bit values; 8 or 16-bit values are needed")
        gray = (values >> 8).astype(np.uint8)  # as Pillow scales 16-bit colors
        return np.repeat(gray[..., None], 3, axis=2)
    image.info.pop("transparency", None)  # otherwise Pillow warns that it is dropped
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    for top in range(0, image.height, BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + BAND_ROWS, image.height)))
        pixels[top : top + BAND_ROWS] = np.asarray(band.convert("RGB"))
    return pixels


def _notes(image: Image.Image) -> tuple[str, ...]:
    notes = []
    tile = getattr(image, "tile", None)
    arguments = tile[0].args if tile else ""
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    if ";16" in str(raw_mode):
        notes.append("16 bits a channel, scaled to 8")
    if getattr(image, "is_animated", False) and image.format != "MPO":  # cameras store a preview as a second frame
        notes.append("several frames or pages, only the first is read")
    return tuple(notes)


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Raise the errors of decoders as an ImageFileError."""
    try:
        yield
    except ImageFileError:
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(path, "it is not an image of a known format") from error
    except Exception as error:  # damaged files raise almost anything, even IndexError and struct.error
        raise ImageFileError(path, one_line(error)) from error
