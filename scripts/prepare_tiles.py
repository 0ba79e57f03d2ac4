"""Cut the training images of iSAID, Potsdam or Vaihingen into overlapping tiles, which are read faster.

Validation images stay complete, so that their scores are those of complete images; --tile-val cuts them as well.
"""

import argparse
import itertools
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image
from rich.progress import track

from segattn.data import ISAID, ISPRS, SegmentationDataset
from segattn.data.errors import DataError
from segattn.data.isprs import CLASSES, SCHEME
from segattn.data.label_files import Pair, read_colors, read_image
from segattn.inference.sliding_window import window_starts
from segattn.io.atomic_write import atomic_write
from segattn.io.image_listing import list_images

SIZES = {"isaid": (896, 384), "potsdam": (512, 256), "vaihingen": (512, 256)}
"""Size and overlap of the tiles in OpenMMLab's recipes."""

AREAS = {"potsdam": r"\d+_\d+", "vaihingen": r"area\d+"}
"""The part of a file name that an image and its label file share."""

VALIDATION = {
    "potsdam": [
        *("2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15"),
        *("5_13", "5_14", "5_15", "6_13", "6_14", "6_15", "7_13"),
    ],
    "vaihingen": [f"area{number}" for number in (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38)],
}
"""The official test images."""

Area = tuple[int, int, int, int]
"""Top, bottom, left and right of a tile."""


class Originals(ISPRS):
    """The original images and color label files of one split, each named after its area."""

    def __init__(self, name: str, images: Path, labels: Path, split: str) -> None:
        masks = {self.area(name, path): path for path in map(Path, list_images(labels))}
        pairs = []
        for path in map(Path, list_images(images)):
            area = self.area(name, path)
            if (area in VALIDATION[name]) is (split == "val"):
                if area not in masks:
                    raise DataError(f"There is no label file of {area} in {labels} for the image {path}.")
                pairs.append(Pair(f"{area}.png", path, masks[area]))
        SegmentationDataset.__init__(self, images, CLASSES, pairs, SCHEME.label_map)

    @staticmethod
    def area(name: str, path: Path) -> str:
        """The part of a file name that tells the area."""
        found = re.search(AREAS[name], path.stem)
        if found is None:
            raise DataError(f"The name of {path} does not contain an area of {name}, such as {VALIDATION[name][0]}.")
        return found[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tiles; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SIZES)
    parser.add_argument("images", type=Path, help="folder of the images; for iSAID, the folder of train and val")
    parser.add_argument("labels", type=Path, nargs="?", help="folder of the color label files; not for iSAID")
    parser.add_argument("--root", type=Path, help="where img_dir and ann_dir are written; default: data/NAME")
    parser.add_argument("--size", type=int, help="of the tiles in pixels; default: 896 for iSAID, else 512")
    parser.add_argument("--overlap", type=int, help="of neighboring tiles in pixels; default: 384 for iSAID, else 256")
    parser.add_argument("--tile-val", action="store_true", help="cut the validation images as well")
    options = parser.parse_args(arguments)
    name, root = options.name, options.root or Path("data") / options.name
    size = options.size or SIZES[name][0]
    overlap = SIZES[name][1] if options.overlap is None else options.overlap
    if not 0 <= overlap < size:
        parser.error(f"--overlap must be at least 0 and less than --size, got {overlap} and {size}")
    if (name == "isaid") is not (options.labels is None):
        parser.error("iSAID needs one folder, Potsdam and Vaihingen need two: images and labels")
    written = 0
    try:
        for split in ("train", "val"):
            step = size - overlap if split == "train" or options.tile_val else None
            if name == "isaid" and step is None:
                continue  # the data set reads complete images in their folders
            if (root / "img_dir" / split).exists():
                raise FileExistsError(f"{root / 'img_dir' / split} exists; remove it to write it again.")
            opened = (
                ISAID(options.images, split, instances=True)
                if name == "isaid"
                else Originals(name, options.images, options.labels, split)
            )
            for folder in ("img_dir", "ann_dir"):  # of an interrupted run
                shutil.rmtree(root / folder / f"unfinished-{split}", ignore_errors=True)
            for pair in track(opened.pairs, f"cutting {split}"):
                written += write_tiles(opened, pair, root, f"unfinished-{split}", size=size, step=step)
            for folder in ("ann_dir", "img_dir"):
                (root / folder / f"unfinished-{split}").rename(root / folder / split)
    except (OSError, ValueError) as error:
        print(f"The images cannot be cut: {error}", file=sys.stderr)
        return 1
    print(f"{written} images in {root / 'img_dir'}")
    return 0


def write_tiles(
    dataset: SegmentationDataset, pair: Pair, root: Path, folder: str, *, size: int, step: int | None
) -> int:
    """Write the tiles of an image, of its labels and of its instance map; returns their number.

    Args:
        dataset: reads the files.
        pair: the files.
        root: the folder of ``img_dir`` and ``ann_dir``.
        folder: name of the folders in both.
        size: side length of the tiles; those of smaller images are smaller.
        step: pixels between tiles; None writes the complete image.
    """
    image, labels = read_image(pair.image), dataset.read_values(pair.mask)
    arrays = [("img_dir", "", image), ("ann_dir", "_instance_color_RGB" if isinstance(dataset, ISAID) else "", labels)]
    if pair.instances is not None and pair.instances.is_file():
        arrays.append(("ann_dir", "_instance_id_RGB", read_colors(pair.instances)))
    if len({array.shape[:2] for _, _, array in arrays}) > 1:
        raise DataError(f"The image {pair.image} and its label files differ in size.")
    height, width = labels.shape
    stem, count = Path(pair.name).stem, 0
    for top, bottom, left, right in tiles(height, width, size, step) if step else [(0, height, 0, width)]:
        name = f"{stem}_{top}_{bottom}_{left}_{right}" if step else stem
        for parent, suffix, array in arrays:
            with atomic_write(root / parent / folder / f"{name}{suffix}.png") as draft:
                Image.fromarray(array[top:bottom, left:right]).save(draft, format="PNG")
        count += 1
    return count


def tiles(height: int, width: int, size: int, step: int) -> Iterator[Area]:
    """The tiles of an image; the last ones of a row or column end at the border of the image."""
    for top, left in itertools.product(window_starts(height, size, step), window_starts(width, size, step)):
        yield top, min(top + size, height), left, min(left + size, width)


if __name__ == "__main__":
    sys.exit(main())
