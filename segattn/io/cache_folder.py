"""The folder of files that can be created again at any time."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``segattn`` in the user's cache, which may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segattn"
