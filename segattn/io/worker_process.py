"""Worker processes."""

import multiprocessing
import os
import time
from threading import Thread


def end_with_parent() -> None:
    """Let this process exit when its parent has been killed; otherwise it would wait for work forever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while parent is not None and parent.is_alive():
            time.sleep(0.1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()
