"""``segattn explain``: the command line of :func:`segattn.explain.explain`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from segattn.explain import explain


def main(arguments: Sequence[str]) -> int:
    """Write the figures and arrays of one pixel."""
    given = _parser().parse_args(arguments[1:])
    explanation = explain(given.checkpoint, given.image, given.point, given.class_name)
    written = explanation.save(given.output)
    console = Console(markup=False, highlight=False, soft_wrap=True)
    probability = explanation.probabilities[explanation.class_index]
    console.print(f"{explanation.predicted} is predicted; {explanation.class_name} has probability {probability:.3f}")
    for view in explanation.views:
        if view.gamma == 0:
            console.print(f"note: gamma of {view.layer} is 0: this {view.block} changes nothing yet")
    console.print(f"wrote {', '.join(path.name for path in written)} to {given.output}")
    return 0


def _point(text: str) -> tuple[int, int]:
    try:
        x, y = map(int, text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be two whole numbers X,Y such as 120,80, got {text!r}") from error
    return x, y


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segattn explain",
        description="Show what a model looked at to decide on one pixel: attention maps and class evidence.",
    )
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="FILE", help="written by segattn fit")
    parser.add_argument("--image", required=True, type=Path, metavar="FILE", help="an image")
    parser.add_argument("--point", required=True, type=_point, metavar="X,Y", help="the pixel, from the upper left")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="whose evidence (default: the predicted)")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for figures and arrays")
    return parser
