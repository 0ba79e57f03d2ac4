"""A progress bar with images per second and what is left."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text


class _Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        """The speed of the last while, once there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} images/s")


class Progress:
    """Shows how far a run is, on the error stream, if that is a terminal.

    Args:
        total: images of the run.
        shown: whether to show anything.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self._bars = Bars(
            TextColumn("predicting"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown or not Console(stderr=True).is_terminal,
        )
        self._task = self._bars.add_task("", total=total)

    def advance(self, images: float = 1) -> None:
        """Some images are done."""
        self._bars.advance(self._task, images)

    def add(self, images: int) -> None:
        """There are more images than was known."""
        self._bars.update(self._task, total=(self._bars.tasks[0].total or 0) + images)

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()
