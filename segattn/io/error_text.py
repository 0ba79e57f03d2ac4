"""The messages of exceptions as parts of sentences. Nothing heavy is imported."""

import re

_FRAMES = re.compile(r"\s+(?:Exception raised from |frame #0: ).*", re.DOTALL)
_OUT_OF_MEMORY = re.compile(r"out of memory|can(?:'t|not) allocate memory", re.IGNORECASE)


def without_frames(error: BaseException) -> str:
    """The message of an exception without the places in torch's own code that it came through."""
    return _FRAMES.sub("", str(error))


def one_line(error: BaseException) -> str:
    """The same without line breaks and without a full stop."""
    return (" ".join(without_frames(error).split()) or type(error).__name__).rstrip(" .")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there was not enough memory, in whatever way Python, NumPy and torch say it."""
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None
