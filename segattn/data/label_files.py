"""Pairing image files with label files, and reading both."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from segattn.data.errors import ColorMaskError, DataError
from segattn.data.label_map import LabelMap, color_values
from segattn.io import image_files
from segattn.io.image_listing import list_images


@dataclass(frozen=True)
class Pair:
    """The files of one sample; its name is the path of the image relative to the image folder, with forward slashes."""

    name: str
    image: Path
    mask: Path
    instances: Path | None = None


def pair_files(images: Path, masks: Path) -> list[Pair]:
    """Pair every image below a folder with the PNG file of the same relative path and stem below another folder."""
    start = len(os.fspath(images)) + 1  # text operations: Path.relative_to would be slow
    names = [(path, path[start:]) for path in list_images(images)]
    return [
        Pair(name.replace(os.sep, "/"), Path(path), Path(f"{masks}{os.sep}{os.path.splitext(name)[0]}.png"))  # noqa: PTH122
        for path, name in names
    ]


def pair_listed(listing: Path, images: Path, masks: Path) -> list[Pair]:
    """Pair the images that a text file names with the PNG files of the same names in another folder.

    Raises:
        DataError: if an image does not exist, unless the folder contains no image at all.
    """
    files = {path.stem: path for path in map(Path, list_images(images))}
    lines = listing.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    names = dict.fromkeys(line.strip() for line in lines if line.strip())
    if files and (missing := [name for name in names if name not in files]):
        raise DataError(
            f"{len(missing)} images that {listing} lists are not in {images}, for example {missing[0]!r}; each line "
            "must be the name of an image without folder and suffix."
        )
    return [Pair(files[name].name, files[name], masks / f"{name}.png") for name in names if name in files]


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read an image file as RGB, rotated as its EXIF data says."""
    try:
        return image_files.read_image(path)
    except image_files.ImageFileError as error:
        raise DataError(str(error)) from error


def read_labels(path: Path) -> Integer[np.ndarray, "h w"]:
    """Read the values of a label file: gray values, palette indices, or the equal channels of a gray RGB image.

    Raises:
        ColorMaskError: if the channels differ.
        DataError: if the file cannot be read.
    """
    image = _decode(path)
    labels = np.array(image)
    if labels.ndim == 3:
        if image.mode in ("LA", "RGBA"):
            labels = labels[..., :-1]  # drop alpha
        if (labels != labels[..., :1]).any():
            raise ColorMaskError(f"The label file {path} is a color image; one channel of label values is needed.")
        labels = labels[..., 0]
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if labels.dtype.kind not in "iu":
        raise DataError(f"The label file {path} contains {labels.dtype} values; integers are needed.")
    return labels


def read_mat(path: Path, labels_of: Callable[[dict[str, Any]], Any]) -> UInt8[np.ndarray, "h w"]:
    """Read label values of 0..255 from the variables of a MATLAB file.

    Raises:
        DataError: if the file cannot be read, or does not contain these variables.
    """
    from scipy.io import loadmat  # here, because few data sets need it

    try:
        stored = labels_of(loadmat(path))
        labels: UInt8[np.ndarray, "h w"] = stored.astype(np.uint8)
        if labels.ndim != 2 or (labels != stored).any():
            raise ValueError("labels must have two dimensions and values of 0..255")
    except Exception as error:  # for damaged files, loadmat raises many types, even UnboundLocalError
        raise DataError(f"The label file {path} is damaged, or does not belong to this data set.") from error
    return labels


def read_colors(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read the RGB colors of a label file; palette indices become the colors of the palette."""
    return np.array(_decode(path).convert("RGB"))


def read_labels_or_colors(path: Path, colors: LabelMap) -> Integer[np.ndarray, "h w"]:
    """Read the values of a label file; those of colors are their positions in ``colors``."""
    try:
        return read_labels(path)
    except ColorMaskError:
        return colors(color_values(read_colors(path)), path)


def _decode(path: Path) -> Image.Image:
    """Decode an image file without converting or rotating it."""
    try:
        with image_files.open_image(path) as opened:
            image = opened.stored()
    except image_files.ImageFileError as error:
        raise DataError(str(error)) from error
    # Further pages of a TIFF file are often smaller copies of the first
    if getattr(image, "is_animated", False) and image.format != "TIFF":
        raise DataError(f"The label file {path} has several frames; one is needed.")
    return image
