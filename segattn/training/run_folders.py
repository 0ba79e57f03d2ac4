"""The folders of runs, ``OUTPUT/NAME/version_N``."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from segattn.io.config_files import FLAGS

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK", "GROUP_RANK")
"""Environment variables that launchers set, which are not 0 in all processes but the first one."""


def run_name(arguments: Sequence[str]) -> str:
    """The default name of a run: that of the last config on the command line, or ``run``."""
    name = "run"
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag in FLAGS:
            name = Path(value if equals else following).stem
    return name


def claim_folder(root: Path) -> Path:
    """Create the folder of the next version, ``version_N`` in ``root``, which is ``OUTPUT/NAME``.

    Runs that start at the same time get different folders. Of the processes of one run, only the first one creates the
    folder; the others return what may be another version, and Lightning sends them the paths of the first one.
    """
    while True:
        versions = [int(path.name[8:]) for path in root.glob("version_*") if path.name[8:].isdigit()]
        folder = root / f"version_{max(versions, default=-1) + 1}"
        if any(os.environ.get(rank, "0") != "0" for rank in _RANKS):
            return folder
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
