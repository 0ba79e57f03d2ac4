"""Finding, pairing and reading image and mask files."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from segattn.data.errors import ColorMaskError, DataError
from segattn.io import image_files as images
from segattn.io.image_listing import list_images


@dataclass(frozen=True)
class Pair:
    """The files of one sample.

    Attributes:
        name: the image's path relative to the image folder, with forward slashes.
        image: the photograph.
        mask: its labels.
        instances: its instance ids, where the data set has them and they were asked for.
    """

    name: str
    image: Path
    mask: Path
    instances: Path | None = None


def pair_files(images: Path, masks: Path) -> list[Pair]:
    """Every image below a folder with the PNG of the same relative path and stem below another one."""
    start = len(os.path.join(images, ""))  # noqa: PTH118  # likewise
    names = [(path, path[start:]) for path in list_images(images)]
    return [
        Pair(name.replace(os.sep, "/"), Path(path), Path(f"{masks}{os.sep}{os.path.splitext(name)[0]}.png"))  # noqa: PTH122  # likewise
        for path, name in names
    ]


def require_files(pairs: Iterable[Pair]) -> None:
    """Refuse pairs of which the mask, or the instance map that was asked for, is no file.

    Raises:
        DataError: naming how many are missing and the first of them.
    """
    missing = missing_files(pairs)
    if missing:
        image, path = missing[0]
        raise DataError(f"{len(missing)} label files are missing, the first is {path} for the image {image}.")


def missing_files(pairs: Iterable[Pair]) -> list[tuple[Path, Path]]:
    """Images with the mask or instance map that belongs to each but is no file; every folder is listed once."""
    wanted = [(pair.image, path) for pair in pairs for path in (pair.mask, pair.instances) if path is not None]
    present = {entry for folder in {path.parent for _, path in wanted} for entry in _entries(folder)}
    return [(image, path) for image, path in wanted if str(path) not in present]


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read any common image file as RGB, turned upright where its EXIF data asks for it.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        return images.read_image(path)
    except images.ImageFileError as error:
        raise DataError(str(error)) from error


def read_labels(path: Path) -> Integer[np.ndarray, "h w"]:
    """Read the values of a label file: grey values, palette indices, or the equal channels of a grey RGB image.

    Raises:
        ColorMaskError: if its channels differ.
        DataError: if the file cannot be read.
    """
    image = _decode(path)
    labels = np.array(image)
    if labels.ndim == 3:
        if image.mode in ("LA", "RGBA"):
            labels = labels[..., :-1]  # without alpha
        if (labels != labels[..., :1]).any():
            raise ColorMaskError(f"The label file {path} is a color image; one channel of label values is needed.")
        labels = labels[..., 0]
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if labels.dtype.kind not in "iu":
        raise DataError(f"The label file {path} holds {labels.dtype} values; integers are needed.")
    return labels


def read_colors(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read the colors of a label file, through its palette if it has one.

    Raises:
        DataError: if the file cannot be read.
    """
    return np.array(_decode(path).convert("RGB"))


def _decode(path: Path) -> Image.Image:
    """Read a whole image file as it is stored."""
    try:
        with images.open_image(path) as opened:
            return opened.stored()
    except images.ImageFileError as error:
        raise DataError(str(error)) from error


def _entries(folder: Path) -> list[str]:
    return [entry.path for entry in os.scandir(folder)] if folder.is_dir() else []
