"""Whether an exported file computes the same logits as its checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from segattn.checkpoints import TrainedModel
from segattn.checkpoints.network import load_network
from segattn.inference import LogitsFunction, infer, predicted_classes
from segattn.io.image_files import read_image
from segattn.io.image_listing import list_images
from segattn.io.raster_files import read_raster

SIZES = ((1, 225, 290), (2, 97, 130), (1, 33, 64), (1, 7, 200), (3, 1, 1))
"""Batch, height and width of random images: odd sides, multiples of a stride, features of one row or one pixel."""

TOLERANCE = 1e-3
"""Largest difference due to rounding, relative to the largest logit."""


@dataclass(frozen=True)
class Agreement:
    """How an exported file compares with its checkpoint.

    ``other_class`` counts the pixels with another predicted class, where two logits are equal except for rounding.
    """

    images: int
    pixels: int
    other_class: int
    largest_difference: float
    largest_logit: float


@torch.inference_mode()
def agreement(trained: TrainedModel, path: Path, files: Sequence[Path]) -> Agreement:
    """Compare an exported file with its model on random images, and on files with the model's inference config."""
    images = pixels = other_class = 0
    difference, largest = torch.zeros(()), 0.0
    for expected, logits in _pairs(trained, exported_model(path), files):
        images += len(expected)
        pixels += expected[:, 0].numel()
        other_class += int((predicted_classes(logits) != predicted_classes(expected)).sum())
        largest = max(largest, float(expected.abs().max()))
        difference = torch.maximum(difference, (logits - expected).abs().max())  # keeps nan, unlike Python's max
    if not difference <= TOLERANCE * largest:
        raise ValueError(
            f"The exported model disagrees with the checkpoint and is not kept: logits up to {largest:.3g} differ by "
            f"up to {difference:.3g}, and {other_class:,} of {pixels:,} pixels have another class."
        )
    return Agreement(images, pixels, other_class, float(difference), largest)


def _pairs(trained: TrainedModel, exported: LogitsFunction, files: Sequence[Path]) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of the model and of the exported file, on random images and on files."""
    generator = torch.Generator().manual_seed(0)
    channels = trained.model.spec.channels
    for size, height, width in SIZES:
        batch = torch.rand(size, channels or 3, height, width, generator=generator)
        yield trained.logits(batch), exported(batch)
    config = replace(trained.inference, precision="32")
    for file in files:
        pixels = read_image(file) if channels is None else read_raster(file, channels)
        image = rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w")
        yield infer(trained.logits, image, config), infer(exported, image, config)


def exported_model(path: Path) -> LogitsFunction:
    """Load an exported file; code in it may be executed."""
    if path.suffix == ".pt2":
        module: LogitsFunction = torch.export.load(path).module()
        return module
    return load_network(path, torch.device("cpu")).logits


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """List image files and the image files in folders; a path without any is an error."""
    files: list[Path] = []
    for path in map(Path, paths):
        found = [path] if path.is_file() else [Path(file) for file in list_images(path)]
        if not found:
            raise FileNotFoundError(f"There is no image at {path.absolute()}.")
        files += found
    return files
