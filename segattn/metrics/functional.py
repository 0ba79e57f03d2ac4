"""The pure functions behind the metrics: maps in, integer counts and rows out; scores from summed counts."""

from segattn.metrics.counts import confusion_counts, confusion_scores

__all__ = ["confusion_counts", "confusion_scores"]
