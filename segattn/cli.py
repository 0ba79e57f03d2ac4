"""The ``segattn`` command. Nothing heavy is imported before it is known to be needed."""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from segattn import __version__
from segattn.io.error_text import is_out_of_memory, one_line, without_frames
from segattn.training.help_page import help_page

DESCRIPTION = "Semantic segmentation with attention heads, scored by object size."

COMMANDS = {
    "check": "look for what is wrong with the data of a config: segattn check --config X.yaml",
    "fit": "train a model: segattn fit --config ade20k_fla.yaml",
    "validate": "score a checkpoint on the validation images: segattn validate --config X.yaml --ckpt_path FILE",
    "test": "score a checkpoint on the test images",
    "predict": "turn folders of images into masks: segattn predict --checkpoint FILE --images DIR --output DIR",
    "compare": "say which run is better on which object sizes: segattn compare RUN RUN --output DIR",
    "import": "convert a checkpoint: segattn import --from openmmlab|danet|flanet FILE --output OUT.safetensors",
    "explain": "show what a model looked at: segattn explain --checkpoint FILE --image FILE --point X,Y --output DIR",
    "export": "write a model for other runtimes, or slim: segattn export --checkpoint FILE --format onnx --output FILE",
    "benchmark": "measure a block, a head or a config: segattn benchmark --block SCSA --size 96x96",
}

MODULES = {
    **dict.fromkeys(("fit", "validate", "test"), "segattn.training.command"),
    **{name: f"segattn.{name}.command" for name in ("check", "predict", "compare", "explain", "export", "benchmark")},
    "import": "segattn.checkpoints.import_command",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence on stderr and exit code 1 (2 for a wrong command line)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="segattn",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n"
        + "\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items())
        + "\n\nsegattn COMMAND --help lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"segattn {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    command = parser.parse_args(arguments[:1]).command
    if MODULES[command] == "segattn.training.command" and {"--help", "-h"} & set(arguments):
        print(help_page(command))  # noqa: T201  # the command's own voice
        return 0
    try:
        return _runner(command)(arguments)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if os.environ.get("SEGATTN_DEBUG"):
            raise
        print(f"segattn {command}: {_reason(error)}", file=sys.stderr)  # noqa: T201  # the command's own voice
        return 1


def _reason(error: BaseException) -> str:
    """What is wrong, without what the argument parser wraps around it, and without where torch's own code was."""
    while str(error).startswith("Does not validate against any") and error.__cause__:
        error = error.__cause__
    if is_out_of_memory(error) and error.__cause__ is None:  # else it was put into a sentence already
        return f"Out of memory ({one_line(error)}): take smaller images or batches, or sliding windows."
    if str(error).startswith("Expected more than 1 value per channel when training"):  # torch's norms
        return f"{one_line(error)}: a norm of pooled values learns nothing from one image, so take two or more a batch."
    return without_frames(error)


def _runner(command: str) -> Callable[[Sequence[str]], int]:
    """The function behind a command, imported only now."""
    gc.disable()  # a sixth of the time of importing is the search for garbage among what stays
    try:
        run: Callable[[Sequence[str]], int] = import_module(MODULES[command]).main
    finally:
        gc.enable()
    return run
