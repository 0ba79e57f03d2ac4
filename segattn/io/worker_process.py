"""Processes that work for this one."""

import multiprocessing
import os
import time
from ctypes import c_bool
from threading import Thread


def end_with_parent(stop: c_bool | None = None) -> None:
    """Let this process end when the one that it works for is killed: waiting for work, it would wait for ever.

    Args:
        stop: shared with that process, which sets it to end this one in the midst of its work.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while parent is not None and parent.is_alive() and not (stop and stop.value):
            time.sleep(0.1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
