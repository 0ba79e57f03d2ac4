"""Which objects are found, and which false positives are false alarms; see ``docs/object_size.md``. No torch."""

from segattn.objects.ground_truth import Array

FOUND_RECALL = 0.5
"""An object is found if its recall is above this value."""


def is_found(tp: Array, size: Array, recall: float = FOUND_RECALL) -> Array:
    """Whether more than ``recall`` of the pixels of each object are true positives; never so for false positives.

    Args:
        tp: true positives of each row.
        size: area of each row in pixels.
        recall: threshold, at least 0 and below 1.

    Raises:
        ValueError: if the threshold is out of range.
    """
    if not 0 <= recall < 1:
        raise ValueError(f"The recall above which an object is found must be at least 0 and below 1, got {recall}.")
    found: Array = tp / size > recall
    return found


def is_false_alarm(tp: Array, fp: Array, size: Array) -> Array:
    """Whether each row is a complete region without a true positive.

    Not so for the excess of a region over the area of its object, which counts fewer false positives than its size.
    """
    alarm: Array = (tp == 0) & (fp == size)
    return alarm
