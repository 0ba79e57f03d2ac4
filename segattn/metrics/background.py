"""Metric updates on a CPU thread, so that they do not hold up the device that computes the next image."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

MAX_PENDING = 8


class BackgroundUpdates:
    """Runs updates one after the other on a thread of its own: states need no lock, and results no order."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._pending: deque[Future[Any]] = deque()

    def __getstate__(self) -> dict[str, Any]:
        """A copy starts with a thread of its own and nothing pending."""
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        BackgroundUpdates.__init__(self)

    def submit(self, update: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Run an update later, or wait while too many batches are in memory; errors of earlier ones are raised."""
        while len(self._pending) >= MAX_PENDING:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(update, *arguments, **options))

    def join(self) -> None:
        """Wait for all updates; the first error is raised."""
        while self._pending:
            self._pending.popleft().result()
