"""Shapes: a small data set that the project draws itself, for trying things without a download."""

import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from segattn.data.dataset import SegmentationDataset
from segattn.data.errors import DataError
from segattn.data.label_files import pair_files
from segattn.data.label_map import LabelMap
from segattn.data.scenes import CLASSES, draw_scene
from segattn.data.source import SegmentationSource
from segattn.sample import IGNORE_INDEX

_DESCRIPTION = "shapes.json"


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Attributes:
        image_size: side of the images in pixels.
        num_train: training images.
        num_val: validation images.
        version: of the drawing code; another version draws other images.
    """

    image_size: int = 224
    num_train: int = 480
    num_val: int = 120
    version: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        for name, value, least in (
            ("image_size", self.image_size, 32),
            ("num_train", self.num_train, 1),
            ("num_val", self.num_val, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")

    def default_root(self) -> Path:
        """The folder in the user's cache that this drawing goes to."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "segattn" / f"shapes-v{self.version}-{self.image_size}px-{self.num_train}-{self.num_val}"


def draw_shapes(root: Path, drawing: Drawing) -> None:
    """Draw the data set, unless it is there; several processes may do so at the same time.

    Args:
        root: the folder to be created.
        drawing: what to draw.

    Raises:
        DataError: if the folder exists and holds something else.
    """
    if root.is_dir() and any(root.iterdir()):
        description = root / _DESCRIPTION
        found = json.loads(description.read_text()) if description.is_file() else "other files"
        if found != asdict(drawing):
            raise DataError(f"{root.absolute()} holds {found} instead of {asdict(drawing)}; use another root.")
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _draw_files(draft, drawing, shown=root)
        draft.chmod(0o755)  # mkdtemp made it private
        draft.rename(root)
    except OSError:
        if not (root / _DESCRIPTION).is_file():
            raise
        # Another process was faster and drew the same.
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _draw_files(folder: Path, drawing: Drawing, *, shown: Path) -> None:
    jobs = [(part, index) for part, count in _parts(drawing).items() for index in range(count)]
    for kind in ("images", "annotations"):
        for part in _parts(drawing):
            (folder / kind / part).mkdir(parents=True)

    def draw(job: tuple[str, int]) -> None:
        part, index = job
        generator = np.random.default_rng([drawing.version, list(_parts(drawing)).index(part), index])
        image, mask = draw_scene(generator, drawing.image_size)
        name = f"{index:05d}.png"
        Image.fromarray(image).save(folder / "images" / part / name, compress_level=1)
        Image.fromarray(mask).save(folder / "annotations" / part / name)

    with ThreadPoolExecutor() as pool:
        drawn = pool.map(draw, jobs)
        for _ in track(
            drawn, f"Drawing Shapes into {shown}", total=len(jobs), console=Console(stderr=True), transient=True
        ):
            pass
    (folder / _DESCRIPTION).write_text(json.dumps(asdict(drawing)))


def _parts(drawing: Drawing) -> dict[str, int]:
    return {"train": drawing.num_train, "val": drawing.num_val}


class Shapes(SegmentationDataset):
    """Textured shapes on textured ground in all sizes, drawn on first use.

    Args:
        root: where they are, or are drawn to; None is a folder in the user's cache.
        split: ``train`` or ``val``; ``test`` is the validation part.
        drawing: size and number of the images.
    """

    layout: ClassVar[str] = "images/{train,val}/*.png and annotations/{train,val}/*.png"
    remedy: ClassVar[str] = "remove what is left in the folder, and it is drawn again"

    def __init__(self, root: Path | str | None = None, split: str = "train", *, drawing: Drawing | None = None) -> None:
        drawing = drawing or Drawing()
        root = drawing.default_root() if root is None else Path(root)
        draw_shapes(root, drawing)
        part = self.part(split)
        images = self.existing(root / "images" / part)
        pairs = pair_files(images, root / "annotations" / part)  # the lines around the objects are ignored
        super().__init__(root, CLASSES, pairs, LabelMap(CLASSES.label_ids, ignore=[IGNORE_INDEX]))


class ShapesSource(SegmentationSource):
    """Shapes in a config; ``test`` evaluates the validation part.

    Args:
        root: where they are, or are drawn to; None is a folder in the user's cache.
        crop_size: (height, width) of training crops.
        image_size: side of the images in pixels.
        num_train: training images.
        num_val: validation images.
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        crop_size: tuple[int, int] = (224, 224),
        image_size: int = 224,
        num_train: int = 480,
        num_val: int = 120,
        **kwargs: Any,
    ) -> None:
        self.drawing = Drawing(image_size, num_train, num_val)
        super().__init__(root or str(self.drawing.default_root()), CLASSES, crop_size=crop_size, **kwargs)

    def prepare_data(self) -> None:
        """Draw the images on one process of each machine."""
        draw_shapes(self.root, self.drawing)

    def dataset(self, split: str) -> Shapes:
        """The images of one part."""
        return Shapes(self.root, split, drawing=self.drawing)
