"""Where runs are: ``OUTPUT/NAME/version_N``, and the checkpoints in it that a command goes on from."""

from collections.abc import Sequence
from pathlib import Path

from segattn.io.config_files import FLAGS


def run_name(arguments: Sequence[str]) -> str:
    """The name of the last config on the command line, or ``run``."""
    name = "run"
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag in FLAGS:
            name = Path(value if equals else following).stem
    return name


def run_folder(root: Path, *, resumed: bool) -> Path:
    """``version_N`` below the run's name: the newest one where a run goes on, else the next.

    Args:
        root: the folder of the run's name.
        resumed: whether the run goes on.
    """
    versions = [int(path.name.removeprefix("version_")) for path in root.glob("version_*") if path.name[8:].isdigit()]
    newest = max(versions, default=-1)
    return root / f"version_{max(newest, 0) if resumed else newest + 1}"


def find_checkpoint(folder: Path, which: str) -> str:
    """The newest checkpoint ``last`` or ``best`` of a run.

    Args:
        folder: of the run, as :func:`run_folder` gives it.
        which: ``last`` of this folder; or ``best``, which may be that of an earlier version.

    Raises:
        FileNotFoundError: if the run wrote none.
    """
    if which == "best":  # the new run's folder is empty; take the newest run that has one
        found = folder.parent.glob("version_*/checkpoints/best.ckpt")
        newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
        if newest is not None:
            return str(newest)
    path = folder / "checkpoints" / f"{which}.ckpt"
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path.absolute()}; give the path of one to --ckpt_path.")
    return str(path)


def keep_old_metrics(folder: Path) -> None:
    """Set the metrics of the run's earlier part aside: Lightning's CSV logger would delete them."""
    metrics = folder / "metrics.csv"
    if metrics.is_file():
        number = len(list(folder.glob("metrics_until_*.csv"))) + 1
        metrics.rename(folder / f"metrics_until_{number}.csv")
