"""Whether an exported file computes what the model computes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from segattn.checkpoints import TrainedModel
from segattn.checkpoints.network import load_network
from segattn.inference import LogitsFunction, model_input, predicted_classes
from segattn.io.image_files import IMAGE_SUFFIXES, read_image

SIZES = ((1, 225, 290), (2, 97, 130), (1, 33, 64), (1, 7, 200), (3, 1, 1))
"""Batch, height and width of random images: odd sides, multiples of a stride, features of one row or one pixel."""

TOLERANCE = 1e-3
"""Largest difference, relative to the largest logit, that rounding in another order explains."""


class DisagreementError(ValueError):
    """An exported file that computes something else than its model."""


@dataclass(frozen=True)
class Agreement:
    """How an exported file compares with its model.

    Attributes:
        images: how many were compared, random and real ones.
        pixels: of all of them.
        other_class: pixels whose largest logit is another class's; only where two are equal but for rounding.
        largest_difference: of any logit.
        largest_logit: of the model, in absolute value.
    """

    images: int
    pixels: int
    other_class: int
    largest_difference: float
    largest_logit: float


@torch.inference_mode()
def agreement(trained: TrainedModel, path: Path, files: Sequence[Path]) -> Agreement:
    """Compare an exported file with its model on random and on real images.

    Args:
        trained: the model.
        path: the exported file.
        files: images, brought to the model as its size rule says, without windows.

    Raises:
        DisagreementError: if logits differ by more than rounding.
        ImageFileError: if an image cannot be read.
    """
    exported = exported_model(path)
    images = pixels = other_class = 0
    difference = largest = 0.0
    for batch in _batches(trained, files):
        expected: Tensor = trained.model(batch).logits
        logits = exported(batch)
        images += len(batch)
        pixels += len(batch) * batch.shape[2] * batch.shape[3]
        other_class += int((predicted_classes(logits) != predicted_classes(expected)).sum())
        largest = max(largest, float(expected.abs().max()))
        # `max` of Python would drop a nan that comes second
        difference = float(torch.stack([torch.tensor(difference), (logits - expected).abs().max()]).max())
    found = Agreement(images, pixels, other_class, difference, largest)
    if not difference <= TOLERANCE * largest:
        raise DisagreementError(
            f"The exported model disagrees with the checkpoint and is not kept: logits up to {largest:.3g} differ by "
            f"up to {difference:.3g}, and {other_class:,} of {pixels:,} pixels have another class."
        )
    return found


def exported_model(path: Path) -> LogitsFunction:
    """The model in a file that was just written here, which makes it safe to load."""
    if path.suffix != ".pt2":
        return load_network(path, torch.device("cpu")).logits
    module: LogitsFunction = torch.export.load(path).module()
    return module


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """The image files that are named or lie in folders that are named.

    Raises:
        FileNotFoundError: if a path does not exist, or a folder holds no image.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not path.exists() or (path.is_dir() and not inside):
            raise FileNotFoundError(f"There is no image at {path.absolute()}.")
        files += inside if path.is_dir() else [path]
    return files


def _batches(trained: TrainedModel, files: Sequence[Path]) -> Iterator[Float[Tensor, "b 3 h w"]]:
    generator = torch.Generator().manual_seed(0)
    for batch, height, width in SIZES:
        yield torch.rand(batch, 3, height, width, generator=generator)
    for file in files:
        yield model_input(rearrange(torch.from_numpy(read_image(file)), "h w c -> 1 c h w"), trained.inference)
