"""``segattn predict``: the command line of :func:`segattn.predict.predict_folder`."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from segattn.predict.options import Options, Settings
from segattn.predict.predict_folder import predict_folder

if TYPE_CHECKING:
    from segattn.predict.prediction_run import Report


def main(arguments: Sequence[str]) -> int:
    """Run the command; 1 where something could not be predicted."""
    given = vars(_parser().parse_args(arguments[1:]))
    options = {field.name: given[field.name] for field in dataclasses.fields(Options)}
    settings = Settings(**{field.name: given[field.name] for field in dataclasses.fields(Settings)})
    try:
        report = predict_folder(given["checkpoint"], given["images"], given["output"], settings=settings, **options)
    except KeyboardInterrupt:
        _say(f"stopped; what is written is whole, and --resume goes on with {given['output']}", error=True)
        raise
    _print(report)
    return 1 if report.failures else 0


def _print(report: "Report") -> None:
    """Say what was written, and list what was not with the reasons."""
    for name, notes in report.notes.items():
        _say(f"note: {name}: {'; '.join(notes)}")
    for name, reason in report.failures.items():
        _say(f"failed: {name}: {reason}", error=True)
    kept = f", {len(report.kept)} of them from an earlier run" if report.kept else ""
    failed = f"; {len(report.failures)} failed" if report.failures else ""
    _say(f"{len(report.masks)} masks in {report.output}{kept}{failed}")


def _say(text: str, *, error: bool = False) -> None:
    printable = text.encode("utf-8", "backslashreplace").decode("utf-8")  # file names may be no valid Unicode
    Console(stderr=error).print(printable, markup=False, highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segattn predict",
        description="Predict images and videos: one mask of label ids for each, under its relative path and stem.",
    )
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="FILE", help="of segattn fit or export")
    parser.add_argument(
        "--images",
        required=True,
        nargs="+",
        metavar="PATH",
        help="folders with their sub-folders, files, glob patterns, lists of paths in .txt files (or @FILE), videos",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    _add_outputs(parser.add_argument_group("what is written"))
    _add_modes(parser.add_argument_group("how the model is used"))
    _add_settings(parser.add_argument_group("how the run goes about it"))
    return parser


def _add_outputs(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--ids", choices=("dataset", "train"), default="dataset", help="values: the data set's ids, or class indices"
    )
    group.add_argument("--palette", action="store_true", help="store the class colors as the masks' palette")
    group.add_argument("--overlay", action="store_true", help="also the image under the class colors")
    group.add_argument("--panels", action="store_true", help="also image, overlay and colors side by side")
    group.add_argument("--opacity", type=float, metavar="0..1", help="of the colors over the image (default 0.5)")
    group.add_argument("--confidence", action="store_true", help="also the largest class probability times 255")
    group.add_argument(
        "--probabilities", type=_all_or_count, metavar="all|K", help="also the probabilities of all or the likeliest K"
    )


def _add_modes(group: "argparse._ArgumentGroup") -> None:
    lengths: dict[str, Any] = {"nargs": "+", "type": int, "metavar": "PIXELS", "action": _HeightAndWidth}
    group.add_argument("--window", **lengths, help="sliding windows: height and width, or one for both")
    group.add_argument("--stride", **lengths, help="between windows (default: two thirds of them)")
    group.add_argument("--whole", action="store_true", help="no windows, even if the checkpoint has them")
    group.add_argument("--short-side", type=int, metavar="PIXELS", help="resize images to this short side")
    group.add_argument("--original-size", action="store_true", help="no resizing, even if the checkpoint resizes")
    group.add_argument("--scales", type=float, nargs="+", action=_Tuple, metavar="FACTOR", help="average over sizes")
    group.add_argument("--flip", action="store_true", help="average with the mirrored image")
    group.add_argument("--precision", choices=("32", "bf16"), default="32", help="bf16 is for mixed precision")


def _add_settings(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--device", dest="devices", nargs="+", metavar="NAME", help="torch devices, or all (default: cuda if there)"
    )
    group.add_argument("--batch-size", type=int, default=1, metavar="N", help="images of one size computed together")
    group.add_argument("--compile", action="store_true", help="compile the model, for many images of one size")
    group.add_argument("--resume", action="store_true", help="keep what an earlier run finished")
    group.add_argument("--overwrite", action="store_true", help="replace results of another checkpoint")
    group.add_argument(
        "--max-pixels", type=int, metavar="N", help="refuse larger images (default: 179 million; with windows 500)"
    )
    group.add_argument("--quiet", dest="progress", action="store_false", help="no progress bar")


def _all_or_count(text: str) -> Literal["all"] | int:
    return "all" if text == "all" else int(text)


class _Tuple(argparse.Action):
    """Several values as a tuple."""

    def __call__(self, parser, namespace, values, option_string=None):  # type: ignore[no-untyped-def]  # argparse's own form
        """Store them."""
        setattr(namespace, self.dest, tuple(values))


class _HeightAndWidth(argparse.Action):
    """One or two lengths as (height, width)."""

    def __call__(self, parser, namespace, values, option_string=None):  # type: ignore[no-untyped-def]  # argparse's own form
        """Store them."""
        if len(values) > 2:
            parser.error(f"{option_string} takes one or two lengths, got {len(values)}")
        setattr(namespace, self.dest, (values[0], values[-1]))
