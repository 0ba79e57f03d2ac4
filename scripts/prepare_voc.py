"""Convert the labels of SBD to SegmentationClassAug in a folder VOC2012, and write the list trainaug.txt.

The 10,582 images of the list are the training images of Pascal VOC 2012 and all images of SBD, without the validation
images of Pascal VOC 2012.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from segattn.data.label_files import read_mat
from segattn.data.voc import CLASSES
from segattn.io.atomic_write import atomic_write


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert the files; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sbd", type=Path, help="the folder benchmark_RELEASE/dataset of SBD, which contains cls")
    parser.add_argument("--root", type=Path, default=Path("data/VOCdevkit/VOC2012"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    lists = options.root / "ImageSets" / "Segmentation"
    labels = {path.stem: path for path in sorted((options.sbd / "cls").glob("*.mat"))}
    try:
        train, val = ((lists / f"{name}.txt").read_text().split() for name in ("train", "val"))
        if not labels:
            raise FileNotFoundError(f"There are no files {options.sbd.absolute() / 'cls' / '*.mat'}.")
        added = [name for name in labels if name not in {*train, *val}]
        for name in added:
            convert(labels[name], options.root / "SegmentationClassAug" / f"{name}.png")
    except (OSError, ValueError) as error:
        print(f"SBD cannot be converted: {error}", file=sys.stderr)
        return 1
    with atomic_write(lists / "trainaug.txt") as draft:
        draft.write_text("".join(f"{name}\n" for name in sorted([*train, *added])))
    print(f"trainaug.txt lists {len(train) + len(added)} images; {len(added)} of them have labels of SBD")
    return 0


def convert(path: Path, png: Path) -> None:
    """Write the class labels of one file of SBD as a palette image."""
    image = Image.fromarray(read_mat(path, lambda variables: variables["GTcls"][0]["Segmentation"][0]))
    image.putpalette(CLASSES.palette.tobytes().ljust(768, b"\0"))
    with atomic_write(png) as draft:
        image.save(draft, format="PNG")


if __name__ == "__main__":
    sys.exit(main())
