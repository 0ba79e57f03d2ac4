"""Folders of images in, label masks out."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Integer, UInt8
from PIL import Image
from rich.console import Console
from rich.progress import track

from segattn.checkpoints import TrainedModel, load_model
from segattn.data.files import list_images, read_image
from segattn.data.transforms import resize_image
from segattn.model import predicted_classes
from segattn.overlay import blend


def predict_folder(
    checkpoint: str | Path, images: str | Path, output: str | Path, *, overlay: bool = False, device: str | None = None
) -> list[Path]:
    """Predict every image below a folder and write one PNG of label ids each, under its relative path.

    Args:
        checkpoint: written by ``segattn fit``; nothing else is needed.
        images: a folder.
        output: a folder, made where it does not exist. Masks have the images' own sizes and the data set's own ids.
        overlay: also write the image blended with the class colors, below ``overlays``.
        device: of torch; None takes CUDA where there is one.

    Returns:
        The masks written.

    Raises:
        FileNotFoundError: if the checkpoint is missing or the folder holds no image.
        ValueError: if the checkpoint or an image cannot be read.
    """
    folder, output = Path(images), Path(output)
    paths = list_images(folder)
    if not paths:
        raise FileNotFoundError(f"There are no images below {folder.absolute()}.")
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    trained = load_model(checkpoint)
    trained.model.to(chosen)
    written = []
    for path in track(paths, description="predicting"):
        image = read_image(path)
        labels = predict_image(trained, image, device=chosen)
        relative = path.relative_to(folder).with_suffix(".png")
        written.append(_write_png(trained.classes.to_label_ids(labels), output / relative))
        if overlay:
            _write_png(blend(image, labels, trained.classes.palette), output / "overlays" / relative)
    return written


def predict_image(
    trained: TrainedModel, image: UInt8[np.ndarray, "h w 3"], *, device: torch.device
) -> Integer[np.ndarray, "h w"]:
    """Class indices of one RGB image, at its own size."""
    height, width = image.shape[:2]
    resized = resize_image(image, trained.size_rule.resized(height, width))
    pixels = rearrange(torch.from_numpy(resized), "h w c -> 1 c h w").to(device).float() / 255
    with torch.inference_mode():
        logits = trained.model.predict_logits(pixels, rule=trained.size_rule, size=(height, width))
        indices: Integer[np.ndarray, "h w"] = predicted_classes(logits)[0].cpu().numpy()
    return indices


def _write_png(pixels: np.ndarray, path: Path) -> Path:
    """Write whole files only: to a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(pixels).save(temporary, format="PNG")
    return temporary.replace(path)


def main(arguments: Sequence[str]) -> int:
    """``segattn predict``."""
    parser = argparse.ArgumentParser(prog="segattn predict", description=__doc__)
    parser.add_argument("command", choices=["predict"], help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", required=True, help="a checkpoint written by segattn fit")
    parser.add_argument("--images", required=True, help="folder of images, with sub-folders")
    parser.add_argument("--output", required=True, help="folder for the masks")
    parser.add_argument("--overlay", action="store_true", help="also write color overlays")
    parser.add_argument("--device", help="torch device; default: cuda where there is one")
    given = parser.parse_args(arguments)
    written = predict_folder(given.checkpoint, given.images, given.output, overlay=given.overlay, device=given.device)
    Console().print(f"wrote {len(written)} masks to {given.output}", soft_wrap=True)
    return 0
