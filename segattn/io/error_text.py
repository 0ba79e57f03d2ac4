"""Messages of exceptions as parts of sentences."""

import difflib
import re
from collections.abc import Iterable

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


def did_you_mean(word: str, choices: Iterable[str], *, otherwise: str = "") -> str:
    """The end of a sentence: ``: did you mean FLAHead?``, or another advice if no choice is similar."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    if close:
        return f": did you mean {by_lower[close[0]]}?"
    return f": {otherwise}." if otherwise else "."
