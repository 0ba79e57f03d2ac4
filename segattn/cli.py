"""The ``segattn`` command. Imports only what the chosen command needs."""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from segattn import __version__
from segattn.io.error_text import did_you_mean, is_out_of_memory, one_line, without_frames
from segattn.io.printable import printable_lines
from segattn.training.help_page import help_page

COMMANDS = {
    "init": "write a config for folders of images and masks: segattn init --images DIR --masks DIR",
    "check": "find problems in the data of a config: segattn check --config X.yaml",
    "fit": "train a model: segattn fit --config ade20k_fla.yaml",
    "validate": "score a checkpoint on the validation images: segattn validate --config X.yaml --ckpt_path FILE",
    "test": "score a checkpoint on the test images",
    "predict": "turn folders of images into masks: segattn predict --checkpoint FILE --images DIR --output DIR",
    "compare": "compare runs by object size: segattn compare RUN RUN --output DIR",
    "score": "score masks of any tool: segattn score --truth DIR --masks DIR --classes NAME|FILE --output DIR",
    "import": "convert a checkpoint: segattn import --from openmmlab|danet|flanet FILE --output OUT.safetensors",
    "explain": "show what a model looked at: segattn explain --checkpoint FILE --image FILE --point X,Y --output DIR",
    "export": "write a model for other runtimes: segattn export --checkpoint FILE --format onnx --output FILE",
    "benchmark": "measure a block, a head or a config: segattn benchmark --block SCSA --size 96x96",
}
USAGE = f"""\
usage: segattn COMMAND [OPTIONS]

Semantic segmentation with attention heads, scored by object size.

commands:
{"".join(f"  {name:10} {text}{chr(10)}" for name, text in COMMANDS.items())}
segattn COMMAND --help lists the options of a command; segattn --version prints the version.
With any command, --import MODULE imports a module that contains blocks, heads or losses of your own. A checkpoint can
name such classes, but is never allowed to import them."""

MODULES = {
    **dict.fromkeys(("fit", "validate", "test"), "segattn.training.command"),
    **{
        name: f"segattn.{name}.command"
        for name in ("init", "check", "predict", "compare", "score", "explain", "export", "benchmark")
    },
    "import": "segattn.checkpoints.import_command",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. User errors end in one sentence on stderr and exit code 1, or 2 for a wrong command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else "--help"
    if command in ("--help", "-h", "--version"):
        return _say(f"segattn {__version__}" if command == "--version" else USAGE)
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS, otherwise=f"the commands are {', '.join(COMMANDS)}")
        return _say(f"segattn: there is no command {command!r}{hint}", error=True)
    if MODULES[command] == "segattn.training.command" and {"--help", "-h"} & set(arguments):
        return _say(help_page(command))
    try:
        return _runner(command)(import_modules(arguments))
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if os.environ.get("SEGATTN_DEBUG"):
            raise
        _say(f"segattn {command}: {printable_lines(_reason(error))}", error=True)
        return 1


def import_modules(arguments: Sequence[str]) -> list[str]:
    """Import the modules of all options ``--import MODULE``, and return the other arguments.

    The current folder is searched as well.

    Raises:
        ValueError: if a module cannot be imported.
    """
    others, waiting = [], iter(arguments)
    for argument in waiting:
        flag, equals, name = argument.partition("=")
        if flag != "--import":
            others.append(argument)
            continue
        name = name if equals else next(waiting, "")
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        try:
            import_module(name)
        except (ImportError, ValueError) as error:
            raise ValueError(
                f"--import {name} fails ({one_line(error)}): give the name of a module in the current folder or in "
                "PYTHONPATH."
            ) from error
    return others


def _say(text: str, *, error: bool = False) -> int:
    """Print a text and return the exit code of a wrong command line, or of success."""
    try:
        print(text, file=sys.stderr if error else sys.stdout, flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 2 if error else 0


def _reason(error: BaseException) -> str:
    """The message without the wrapping of the argument parser and the stack frames of torch."""
    while str(error).startswith("Does not validate against any") and error.__cause__:
        error = error.__cause__
    if is_out_of_memory(error) and error.__cause__ is None:  # otherwise the message says what to do
        return f"Out of memory ({one_line(error)}): use smaller images or batches, or sliding windows."
    if str(error).startswith("Expected more than 1 value per channel when training"):  # from torch
        return f"{one_line(error)}: batch norm needs at least two images per batch."
    return without_frames(error)


def _runner(command: str) -> Callable[[Sequence[str]], int]:
    """The function that runs a command."""
    gc.disable()  # garbage collection takes a sixth of the time of the imports
    try:
        run: Callable[[Sequence[str]], int] = import_module(MODULES[command]).main
    finally:
        gc.enable()
    return run
