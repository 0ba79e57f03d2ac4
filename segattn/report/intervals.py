"""Percentile intervals of resampled values, p-values that agree with them, and an adjustment for many comparisons.

The two-sided p-value of a difference is the smallest alpha for which its interval of level 1 - alpha excludes 0:

    p = 2 min(F(0), 1 - F(0)), and at least 2 / (B + 1),

where F is the distribution function of the B resampled differences, interpolated as in :func:`numpy.percentile`. The
bound counts the observed difference as one more resample on each side (Davison and Hinkley: Bootstrap Methods and their
Application, section 4.2).

A family of p-values is adjusted by Benjamini and Hochberg (1995): if all differences with an adjusted p of at most 0.05
are called real, at most 5 % of them are expected to be wrong.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import false_discovery_control


def intervals(drawn: Float[np.ndarray, "n resamples"], tails: tuple[float, float]) -> Float[np.ndarray, "2 n"]:
    """Percentiles over the resamples; nan where at least half of them have no value."""
    bounds = np.full((2, len(drawn)), np.nan)
    for number, values in enumerate(drawn):
        known = values[~np.isnan(values)]
        if 2 * len(known) > len(values):
            bounds[:, number] = np.percentile(known, tails)
    return bounds


def p_values(drawn: Float[np.ndarray, "n resamples"]) -> Float[np.ndarray, " n"]:
    """Two-sided p-values of the hypothesis that a difference is 0; nan where :func:`intervals` has no bounds."""
    known = (~np.isnan(drawn)).sum(axis=1)
    p = 2 * np.minimum(_share_up_to_0(drawn, known), _share_up_to_0(-drawn, known))
    return np.where(2 * known > drawn.shape[1], np.clip(p, 2 / (known + 1), 1), np.nan)


def _share_up_to_0(drawn: Float[np.ndarray, "n resamples"], known: np.ndarray) -> np.ndarray:
    """The share q of the known values at which their percentile passes from 0 or less to more than 0."""
    count = (drawn <= 0).sum(axis=1)
    last = np.max(drawn, axis=1, where=drawn <= 0, initial=-np.inf)
    first = np.min(drawn, axis=1, where=drawn > 0, initial=np.inf)
    passed = (count > 0) & (count < known)
    step = np.divide(-last, first - last, out=np.zeros(len(drawn)), where=passed)
    share = (count - 1 + step) / np.maximum(known - 1, 1)
    return np.asarray(np.where(passed, share, count > 0), dtype=np.float64)


def add_adjustment(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Add ``p_adjusted`` and ``adjusted_result`` to a table of differences.

    A family consists of all differences between one run and the baseline in one measure: all rows of the table with the
    same ``name`` and ``measure`` (if there is one) that have a ``p``. ``adjusted_result`` is the ``result`` where the
    adjusted p-value is at most 1 - ``level``, and ``tie`` elsewhere.
    """
    families = table[table["p"].notna()].groupby([key for key in ("name", "measure") if key in table.columns])
    adjusted = families["p"].transform(false_discovery_control).reindex(table.index)
    kept = (adjusted <= 1 - level) | (table["result"] == "")
    return table.assign(p_adjusted=adjusted, adjusted_result=table["result"].where(kept, "tie"))
