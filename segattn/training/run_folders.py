"""The folders of runs, ``OUTPUT/NAME/version_N``, and the checkpoints in them."""

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


def run_folder(root: Path, *, resumed: bool) -> Path:
    """The newest ``version_N`` if a run is resumed, else the next one.

    Args:
        root: ``OUTPUT/NAME``.
        resumed: whether a run is resumed.
    """
    versions = [int(path.name.removeprefix("version_")) for path in root.glob("version_*") if path.name[8:].isdigit()]
    newest = max(versions, default=-1)
    return root / f"version_{max(newest, 0) if resumed else newest + 1}"


def find_checkpoint(folder: Path, which: str) -> str:
    """The checkpoint ``last`` of a run, or the newest ``best`` among all runs of its name.

    Args:
        folder: folder of the run, from :func:`run_folder`.
        which: ``last`` or ``best``.

    Raises:
        FileNotFoundError: if there is none.
    """
    if which == "best":  # an evaluation has a new folder, so take the newest run that has one
        found = folder.parent.glob("version_*/checkpoints/best.ckpt")
        newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
        if newest is not None:
            return str(newest)
    path = folder / "checkpoints" / f"{which}.ckpt"
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path.absolute()}: pass the path of one to --ckpt_path.")
    return str(path)


def keep_old_metrics(folder: Path) -> None:
    """Rename the metrics of an interrupted run, because Lightning's CSV logger would overwrite them."""
    metrics = folder / "metrics.csv"
    if metrics.is_file():
        number = len(list(folder.glob("metrics_until_*.csv"))) + 1
        metrics.rename(folder / f"metrics_until_{number}.csv")
