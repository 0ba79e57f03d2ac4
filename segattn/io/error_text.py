"""Messages of exceptions as parts of sentences."""

import re

_FRAMES = re.compile(r"\s+(?:Exception raised from |frame #0: ).*", re.DOTALL)
_OUT_OF_MEMORY = re.compile(r"out of memory|can(?:'t|not) allocate memory", re.IGNORECASE)


def without_frames(error: BaseException) -> str:
    """The message without the stack frames of torch's C++ code."""
    return _FRAMES.sub("", str(error))


def one_line(error: BaseException) -> str:
    """The message in one line, without the final full stop. Of a system error, only the reason."""
    text = getattr(error, "strerror", None) or without_frames(error)
    return (" ".join(text.split()) or type(error).__name__).rstrip(" .")


def first_line(error: BaseException) -> str:
    """The first line of the message, without the final full stop."""
    lines = without_frames(error).strip().splitlines()
    return lines[0].rstrip(" .") if lines else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, NumPy or torch ran out of memory."""
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None
