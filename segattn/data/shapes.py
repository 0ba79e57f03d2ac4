"""Shapes: a small synthetic data set, drawn on first use, for experiments without a download."""

import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import track

from segattn.data.dataset import SegmentationDataset
from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.label_map import LabelMap
from segattn.data.scenes import CLASSES, draw_scene
from segattn.io.cache_folder import cache_folder
from segattn.sample import IGNORE_INDEX, ClassTable

_DESCRIPTION = "shapes.json"


@dataclass(frozen=True)
class Drawing:
    """Side length of the images in pixels, their numbers, and the version of the code that draws them."""

    classes: ClassVar[ClassTable] = CLASSES
    title: ClassVar[str] = "Shapes"

    image_size: int = 224
    num_train: int = 480
    num_val: int = 120
    num_test: int = 0
    version: int = 1

    def __post_init__(self) -> None:
        """Validate the arguments."""
        for name, least in (("image_size", 32), ("num_train", 1), ("num_val", 1), ("num_test", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}.")

    @property
    def counts(self) -> dict[str, int]:
        """Number of images by split."""
        return {"train": self.num_train, "val": self.num_val, "test": self.num_test}

    def default_root(self) -> Path:
        """The folder in the user's cache for this drawing."""
        counts = "-".join(map(str, self.counts.values()))
        return cache_folder() / f"shapes-v{self.version}-{self.image_size}px-{counts}"

    def scene(
        self, generator: np.random.Generator
    ) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
        """Draw an RGB image and its mask of class indices."""
        return draw_scene(generator, self.image_size)

    def description(self) -> str:
        """All fields as JSON, as stored beside the images."""
        return json.dumps(asdict(self))


def draw_shapes(root: Path, drawing: Drawing) -> None:
    """Draw the data set unless it exists. Several processes may do so at the same time.

    Raises:
        DataError: if the folder exists and contains something else.
    """
    if root.is_dir() and any(root.iterdir()):
        description = root / _DESCRIPTION
        found = json.loads(description.read_text()) if description.is_file() else "other files"
        if found != (wanted := json.loads(drawing.description())):
            raise DataError(f"{root.absolute()} contains {found} instead of {wanted}; use another root.")
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _draw_files(draft, drawing, shown=root)
        draft.chmod(0o755)  # mkdtemp creates private folders
        draft.rename(root)
    except OSError:
        if not (root / _DESCRIPTION).is_file():
            raise
        # Another process has finished the same drawing first.
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _draw_files(folder: Path, drawing: Drawing, *, shown: Path) -> None:
    jobs = [(part, index) for part, count in drawing.counts.items() for index in range(count)]
    for kind in ("images", "annotations"):
        for part, count in drawing.counts.items():
            if count:
                (folder / kind / part).mkdir(parents=True)

    def draw(job: tuple[str, int]) -> None:
        part, index = job
        generator = np.random.default_rng([drawing.version, list(drawing.counts).index(part), index])
        image, mask = drawing.scene(generator)
        name = f"{index:05d}.png"
        Image.fromarray(image).save(folder / "images" / part / name, compress_level=1)
        Image.fromarray(mask).save(folder / "annotations" / part / name)

    with ThreadPoolExecutor() as pool:
        drawn = pool.map(draw, jobs)
        for _ in track(
            drawn,
            f"Drawing {drawing.title} into {shown}",
            total=len(jobs),
            console=Console(stderr=True),
            transient=True,
        ):
            pass
    (folder / _DESCRIPTION).write_text(drawing.description())


class Shapes(SegmentationDataset):
    """Textured shapes of all sizes on a textured background, or the scenes of another drawing.

    Args:
        root: folder of the images, which are drawn if missing; None uses a folder in the user's cache.
        split: ``train``, ``val`` or, if ``drawing.num_test`` is positive, ``test``.
        drawing: size and number of the images, and how they are drawn.

    Examples:
        >>> from segattn.data import Shapes
        >>> from segattn.data.shapes import Drawing
        >>> dataset = Shapes("data/shapes", "val", drawing=Drawing(image_size=64, num_train=4, num_val=3))
        >>> len(dataset), dataset[0]["image"].shape
        (3, torch.Size([3, 64, 64]))
        >>> dataset.classes.names
        ('background', 'disk', 'ring', 'square', 'bar', 'triangle', 'cross')
    """

    parts: ClassVar[dict[str, str]] = {"train": "train", "val": "val", "test": "test"}
    layout: ClassVar[str] = "images/SPLIT/*.png and annotations/SPLIT/*.png"
    remedy: ClassVar[str] = "delete the folder to have it drawn again"

    def __init__(self, root: Path | str | None = None, split: str = "train", *, drawing: Drawing | None = None) -> None:
        drawing = drawing or Drawing()
        if split == "test" and not drawing.num_test:
            raise DataNotFoundError(f"{drawing.title} has no test images unless num_test is positive.")
        root = drawing.default_root() if root is None else Path(root)
        draw_shapes(root, drawing)
        label_map = LabelMap(drawing.classes.label_ids, ignore=[IGNORE_INDEX])  # the outlines of Shapes are ignored
        super().__init__(root, drawing.classes, self.find_pairs(root, split), label_map)
