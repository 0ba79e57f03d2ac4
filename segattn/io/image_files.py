"""Reading any image file as upright 8-bit RGB, and the one way in which images are resized. No torch, no Lightning."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image, UnidentifiedImageError

# Pillow warns from 89 million pixels on, in its own words, and refuses twice as many; predict has a limit of its own.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga", ".avif"),
)
"""Lower-case endings by which images are found in folders; a file that is named alone may have any."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageFileError(ValueError):
    """A file that cannot be read as an image.

    Args:
        path: the file.
        reason: why, without a full stop.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The file {path} cannot be read as an image: {reason}.")
        self.reason = reason


class ImageFile:
    """An opened image file. Its header is read; the pixels are decoded at the first use of them.

    Attributes:
        path: the file.
        pixel_count: height times width.
        stored_size: (height, width) before the image is turned upright.
        notes: what a reader should know: 16 bits were scaled, only the first of several frames is read.
    """

    def __init__(self, path: Path, image: Image.Image) -> None:
        self.path = path
        self.stored_size = (image.height, image.width)
        self.pixel_count = image.height * image.width
        self.notes = _notes(image)
        self._image = image
        self._turn: Image.Transpose | None = None

    def load(self) -> None:
        """Decode the pixels.

        Raises:
            ImageFileError: if they are damaged, or are no 8 or 16-bit values.
        """
        with _one_sentence(self.path):
            self._image.load()
            self._turn = _TURNS.get(self._image.getexif().get(ExifTags.Base.Orientation, 1))
            if self._image.mode == "F":
                raise ImageFileError(self.path, "it holds floating-point values; 8 or 16-bit values are needed")

    def stored(self) -> Image.Image:
        """The image as it is stored, decoded but neither turned nor converted: what a label file needs.

        Raises:
            ImageFileError: if it is damaged.
        """
        with _one_sentence(self.path):
            self._image.load()
            return self._image

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image; after :meth:`load`."""
        sides = (self._image.height, self._image.width)
        return sides if self._turn is None or self._turn in _KEEPS_SIDES else sides[::-1]

    def rows(self, top: int, bottom: int) -> UInt8[np.ndarray, "rows w 3"]:
        """Some rows of the upright image, RGB; after :meth:`load`.

        Args:
            top: the first row.
            bottom: the row after the last one.
        """
        with _one_sentence(self.path):
            height, width = self._image.height, self._image.width
            if self._turn in (Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270):
                box = (top, 0, bottom, height)
            elif self._turn in (Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90):
                box = (width - bottom, 0, width - top, height)
            elif self._turn in (Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM):
                box = (0, height - bottom, width, height - top)
            else:
                box = (0, top, width, bottom)
            part = self._image if box == (0, 0, width, height) else self._image.crop(box)
            return _to_rgb(part if self._turn is None else part.transpose(self._turn), self.path)

    def read(self) -> UInt8[np.ndarray, "h w 3"]:
        """The whole upright image, RGB.

        Raises:
            ImageFileError: if the pixels are damaged, or are no 8 or 16-bit values.
        """
        self.load()
        return self.rows(0, self.size[0])


_KEEPS_SIDES = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM)


@contextmanager
def open_image(path: Path, *, max_pixels: int | None = None) -> Iterator[ImageFile]:
    """Open any common image file; it is closed at the end of the ``with`` block.

    Args:
        path: the file.
        max_pixels: refuse larger images; None leaves it to Pillow's own limit.

    Raises:
        ImageFileError: if it is no image, or a larger one.
    """
    with _one_sentence(path):
        status = path.stat()
        if not path.is_file():
            raise ImageFileError(path, "it is no regular file")
        if status.st_size == 0:
            raise ImageFileError(path, "it is empty")
        image = Image.open(path)
    with image:
        with _one_sentence(path):
            opened = ImageFile(path, image)
        if max_pixels is not None and opened.pixel_count > max_pixels:
            raise ImageFileError(path, f"its {opened.pixel_count:,} pixels are more than the limit of {max_pixels:,}")
        yield opened


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read any common image file as RGB, turned upright where its EXIF data asks for it.

    Alpha is dropped, 16 bits are scaled to 8, of several frames the first is read.

    Raises:
        ImageFileError: if the file cannot be read.
    """
    with open_image(path) as opened:
        return opened.read()


def resize_image(image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "new_h new_w 3"]:
    """Resize a photograph: area average where it shrinks (no aliasing), bilinear where it grows.

    Args:
        image: RGB.
        size: (height, width) wanted.
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    shrinks = size[0] * size[1] < height * width
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _to_rgb(image: Image.Image, path: Path) -> UInt8[np.ndarray, "h w 3"]:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip instead of scale
        values = np.asarray(image, dtype=np.int64)
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise ImageFileError(path, "it holds 32-bit values; 8 or 16-bit values are needed")
        grey = (values >> 8).astype(np.uint8)  # as Pillow scales 16-bit colors
        return np.repeat(grey[..., None], 3, axis=2)
    image.info.pop("transparency", None)  # else Pillow warns that it is dropped
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


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
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into one sentence that names the file."""
    try:
        yield
    except ImageFileError:
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(path, "its content is no image of a known format") from error
    except Exception as error:  # decoders raise nearly anything on a damaged file, even IndexError and struct.error
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageFileError(path, " ".join(reason.split()).rstrip(".") or type(error).__name__) from error
