from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.checkpoints.saved import save_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny model with four classes that does not resize images."""
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny.ckpt")


def picture(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Blocks of random colors."""
    colors = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return colors.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]


def save_pictures(folder: Path, *names: str, **size: int) -> Path:
    """Save a different picture under every name."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(seed, **size)).save(folder / name)
    return folder


def mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def tree(folder: Path) -> dict[str, bytes]:
    """Contents of all files below a folder by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
