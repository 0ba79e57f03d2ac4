"""A decoded image kept in a file: what makes images of hundreds of millions of pixels fit into memory."""

import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from jaxtyping import UInt8

from segattn.inference.sliding_window import Area
from segattn.io.image_files import ImageFile

_ROWS = 256


class Spool:
    """The pixels of an image as a raw temporary file, of which a band of rows is held at a time.

    Decoders need the whole image in memory (Pillow four bytes a pixel); this frees it before the model starts.

    Args:
        image: an opened image; it can be closed afterwards.
        folder: for the temporary file, three bytes a pixel.
    """

    def __init__(self, image: ImageFile, folder: Path) -> None:
        image.load()
        self.size = image.size
        self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115  # closed with the object
        for top in range(0, self.size[0], _ROWS):
            self._file.write(image.rows(top, min(top + _ROWS, self.size[0])).data)
        self._band: tuple[int, int] = (0, 0)
        self._rows = np.empty((0, self.size[1], 3), np.uint8)

    def rows(self, top: int, bottom: int) -> UInt8[np.ndarray, "rows w 3"]:
        """Some rows of the image, RGB."""
        if self._band != (top, bottom):
            width = self.size[1]
            self._file.seek(top * width * 3)
            self._rows = np.empty((bottom - top, width, 3), np.uint8)
            self._file.readinto(self._rows.data)  # type: ignore[attr-defined]  # of any binary file
            self._band = (top, bottom)
        return self._rows

    def crop(self, area: Area) -> UInt8[np.ndarray, "rows columns 3"]:
        """An area of the image, RGB."""
        return self.rows(area.top, area.bottom)[:, area.left : area.right]

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
