"""Worker processes."""

import multiprocessing
import os
import time
from ctypes import c_bool
from threading import Thread


def end_with_parent(stop: c_bool | None = None) -> None:
    """Let this process exit when its parent has been killed; otherwise it would wait for work forever.

    Args:
        stop: shared with the parent, which can set it to end this process at once.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while parent is not None and parent.is_alive() and not (stop and stop.value):
            time.sleep(0.1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
