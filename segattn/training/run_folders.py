"""The folders of runs, ``OUTPUT/NAME/version_N``."""

from collections.abc import Sequence
from pathlib import Path

from segattn.io.config_files import FLAGS


def run_name(arguments: Sequence[str]) -> str:
    """The default name of a run: that of the last config on the command line, or ``run``."""
    name = "run"
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag in FLAGS:
            name = Path(value if equals else following).stem
    return name


def run_folder(root: Path) -> Path:
    """The folder of the next version, ``version_N`` in ``root``, which is ``OUTPUT/NAME``."""
    versions = [int(path.name.removeprefix("version_")) for path in root.glob("version_*") if path.name[8:].isdigit()]
    return root / f"version_{max(versions, default=-1) + 1}"
