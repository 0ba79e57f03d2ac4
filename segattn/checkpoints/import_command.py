"""``segattn import``: the command line of :func:`segattn.checkpoints.import_checkpoint`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from segattn.checkpoints.foreign import Origin, import_checkpoint
from segattn.checkpoints.trained import save_model
from segattn.data.class_file import LabelScheme


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Raises:
        OSError: if a file is missing or cannot be written.
        ValueError: if a file or the command line is wrong.
    """
    given = _parser().parse_args(arguments[1:])
    trained = import_checkpoint(
        given.file,
        given.origin,
        classes=LabelScheme.read(given.classes).classes if given.classes else None,
        align_corners=given.align_corners,
        multi_dilation=given.multi_dilation,
        say=_say,
    )
    if given.output.suffix:
        save_model(trained, given.output)
    else:
        trained.save_pretrained(given.output)
    encoder = trained.model.encoder.spec.name
    _say(f"{given.output}: {encoder}, {type(trained.model.head).__name__}, {len(trained.classes)} classes")
    return 0


def _say(sentence: str) -> None:
    Console().print(sentence, markup=False, highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segattn import",
        description="Turn a checkpoint of another repository into one of segattn with the same logits.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the checkpoint; nothing in it is executed")
    origins = "OpenMMLab's mmsegmentation, the authors' DANet, or the authors' FLANet"
    parser.add_argument("--from", dest="origin", required=True, choices=get_args(Origin), help=origins)
    parser.add_argument(
        "--output", required=True, type=Path, metavar="OUT", help="a .safetensors or .ckpt file, or a folder"
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="YAML",
        help="the classes, in the form of one's own data sets; default: those in the file, else Cityscapes for 19 and "
        "ADE20K for 150",
    )
    parser.add_argument(
        "--align-corners",
        action=argparse.BooleanOptionalAction,
        help="how OpenMMLab's config resizes logits; default: as the config in the file says, else no",
    )
    parser.add_argument(
        "--multi-dilation",
        type=int,
        nargs="+",
        metavar="D",
        help="dilations of the last stage, where the authors' DANet was trained with this option (DANet101: 4 8 16)",
    )
    return parser
