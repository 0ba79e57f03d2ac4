"""``segattn import``: the command line of :func:`segattn.checkpoints.import_checkpoint`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from rich.console import Console

from segattn.checkpoints.foreign import Origin, import_checkpoint
from segattn.checkpoints.trained import save_model
from segattn.data.class_file import LabelScheme
from segattn.io.command_line import run_command


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return run_command(import_file, arguments[1:], prog="segattn import", names={"origin": "from"})


def import_file(
    file: Annotated[Path, "FILE"],
    /,
    *,
    origin: Origin,
    output: Annotated[Path, "OUT"],
    classes: Annotated[Path | None, "YAML"] = None,
    align_corners: bool | None = None,
    multi_dilation: list[int] | None = None,
) -> int:
    """Convert a checkpoint of another repository to one of segattn with the same logits.

    Args:
        file: the checkpoint; nothing in it is executed
        origin: OpenMMLab's mmsegmentation, the authors' DANet, or the authors' FLANet
        output: a .safetensors or .ckpt file, or a folder
        classes: the classes, as for custom data sets; default: those in the file, else those of the data set with
            their number
        align_corners: how OpenMMLab's config resizes logits; default: as in the config in the file, else no
        multi_dilation: dilations of the last stage, if the authors' DANet was trained with this option (DANet101: 4 8
            16)
    """
    trained = import_checkpoint(
        file,
        origin,
        classes=LabelScheme.read(classes).classes if classes else None,
        align_corners=align_corners,
        multi_dilation=multi_dilation,
        say=_say,
    )
    if output.suffix:
        save_model(trained, output)
    else:
        trained.save_pretrained(output)
    model = trained.model
    _say(f"{output}: {model.spec.encoder.name}, {type(model.head).__name__}, {len(trained.classes)} classes")
    return 0


def _say(sentence: str) -> None:
    Console().print(sentence, markup=False, highlight=False, soft_wrap=True)
