"""Scoring mask folders of any tool by object size: ``segattn score``."""

from segattn.score.folder_scoring import ScoreReport, score_folder

__all__ = ["ScoreReport", "score_folder"]
