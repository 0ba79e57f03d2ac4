"""Comparing runs: ``segattn compare``."""
