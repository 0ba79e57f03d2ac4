"""Slow p-values and their adjustment, written from the docstring of ``segattn.report.intervals``."""

import math

import numpy as np


def p_value(values):
    """Search the smallest alpha for which the percentile interval of level 1 - alpha excludes 0."""
    values = [value for value in values if not math.isnan(value)]
    low, high = 0.0, 1.0
    for _ in range(60):
        alpha = (low + high) / 2
        first, last = np.percentile(values, [50 * alpha, 100 - 50 * alpha])
        if first > 0 or last < 0:
            high = alpha
        else:
            low = alpha
    return min(1, max(high, 2 / (len(values) + 1)))


def benjamini_hochberg(p):
    """The adjusted p is the smallest rate at which the step-up procedure of the paper rejects this hypothesis."""
    order = sorted(range(len(p)), key=lambda number: p[number])
    adjusted = [math.nan] * len(p)
    for rank, number in enumerate(order, start=1):
        rates = [p[other] * len(p) / other_rank for other_rank, other in enumerate(order, 1) if other_rank >= rank]
        adjusted[number] = min(1, *rates, 1)
    return adjusted
