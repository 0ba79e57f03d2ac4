"""Check a copy of Cityscapes for missing files. Only registered users can download it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from missing_files import incomplete_splits

from segattn.data import Cityscapes

NUM_IMAGES = {"train": 2975, "val": 500}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the data set; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    text = "folder that contains leftImg8bit and gtFine (default: %(default)s)"
    parser.add_argument("root", type=Path, nargs="?", default=Path("data/cityscapes"), help=text)
    root = parser.parse_args(arguments).root
    problems = incomplete_splits(lambda split: Cityscapes(root, split, instances=True), NUM_IMAGES)
    print("\n".join(problems) if problems else f"Cityscapes is complete in {root.absolute()}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
