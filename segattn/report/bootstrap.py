"""Paired comparison of runs on the same images, with bootstrap intervals.

Images are drawn with replacement, the same ones for every run, and all scores are recomputed from the summed counts of
the drawn images (Efron and Tibshirani: An Introduction to the Bootstrap, chapter 13, percentile intervals). The counts
of all resamples are one matrix product: how often each image was drawn, times the counts of each image.

Images that resemble each other, such as frames of one drive, are drawn together: groups take the place of images
(cluster bootstrap; Davison and Hinkley: Bootstrap Methods and their Application, section 3.8).

If a name has n > 1 runs, its score is their mean, and n - 1 of them are drawn with replacement in every resample,
independently for every name. With n - 1 draws the variance of the mean is unbiased (Rao and Wu: Resampling Inference
With Complex Survey Data, 1988).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse

from segattn.report.image_groups import ImageGroups, group_images
from segattn.report.intervals import add_adjustment, intervals, p_values
from segattn.report.runs import Study
from segattn.report.scores import (
    COUNTS,
    FOUND_MEASURES,
    KINDS,
    LOWER_IS_BETTER,
    Array,
    Bins,
    Scores,
    count_cells,
    counted,
    known_mean,
    object_cells,
    score,
    with_total,
)

_VALUES_PER_PIECE = 1 << 22
"""Number of counts of one run in memory at a time."""

_FULL = 0.25
"""Share of nonzero counts above which the dense matrix product is faster than the sparse one."""

_ALL = "all"


@dataclass(frozen=True)
class Comparison:
    """Scores of runs and their differences from a baseline, in fractions of 1.

    All tables have the columns ``score`` and ``difference`` (the score minus that of the baseline), each with an
    interval in ``..._low`` and ``..._high``. ``result`` is ``win`` or ``loss`` if the interval of the difference
    excludes 0, ``tie`` if it does not, and empty if there is nothing to compare. ``p`` is its p-value. ``p_adjusted``
    and ``adjusted_result`` take the number of comparisons into account (:mod:`segattn.report.intervals`): a family is
    all differences of one run in one measure, such as the IoU of all classes and sizes.

    Measures are ``miou``, ``mrecall``, ``lost_KIND`` (what a kind of error costs of the mIoU) and
    :data:`segattn.report.scores.FOUND_MEASURES`, of which ``false_alarms`` is a number per image. Lower is better for
    costs and false alarms.

    Attributes:
        baseline: name of the run that the others are compared with.
        groups: the images that were drawn together.
        means: scores by ``name``, ``measure`` and ``size`` (a bucket, or ``all``).
        curve: scores by ``name``, ``measure`` (``miou``, ``mrecall`` or ``found``) and fine bin, with its edges
            ``low_edge`` and ``high_edge``.
        classes: IoU by ``name``, ``class_name`` and ``size``.
        found: measures of objects found by ``name``, ``measure``, ``class_name`` and ``size``.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> comparison = report.compare(study, resamples=200)
        >>> comparison.baseline, list(comparison.means.columns)[:6]
        ('quickstart_fcn', ['name', 'measure', 'size', 'classes', 'objects', 'score'])
    """

    baseline: str
    means: pd.DataFrame
    curve: pd.DataFrame
    classes: pd.DataFrame
    found: pd.DataFrame
    groups: ImageGroups
    level: float
    resamples: int
    seed: int


def compare(
    study: Study,
    *,
    baseline: str | None = None,
    group_by: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare all runs with a baseline, by default the first.

    Equal seeds give equal intervals.

    Args:
        study: the runs.
        baseline: name of the run that the others are compared with.
        group_by: the images that are drawn together, as :func:`segattn.report.image_groups.group_images` explains.
        resamples: number of resamples.
        seed: seed of the resamples.
        level: confidence level of the intervals.

    Raises:
        ValueError: if no run has the name of the baseline, a number is out of range, or images cannot be grouped.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> means = report.compare(study, baseline="quickstart_fcn", resamples=200).means
        >>> chosen = means[(means["name"] == "quickstart") & (means["measure"] == "miou")]
        >>> dict(zip(chosen["size"], chosen["adjusted_result"]))
        {'all': 'win', 'small': 'tie', 'medium': 'win', 'large': 'tie'}
    """
    baseline = study.names[0] if baseline is None else baseline
    if baseline not in study.names:
        raise ValueError(f"There is no run {baseline!r} to compare with; the runs are {', '.join(study.names)}.")
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples must be positive and level between 0 and 1, got {resamples} and {level}.")
    groups = group_images(study, group_by)
    sampler = _Sampler(study, groups, np.random.default_rng(seed))
    exact = sampler.scores(np.ones((1, groups.count)), None)
    if groups.count > 1:
        pieces, join = list(sampler.draw(resamples)), partial(np.concatenate, axis=-1)
        drawn = {name: Scores.combine([piece[name] for piece in pieces], join) for name in study.names}
    else:  # all resamples would be the same image, and every interval a point
        drawn = {name: Scores.combine([exact[name]], lambda values: values[0] * np.nan) for name in study.names}
    tail = 100 * (1 - level) / 2
    tables = _Tables(exact, drawn, baseline=baseline, tails=(tail, 100 - tail)).all(study, sampler.bins)
    tables = {key: add_adjustment(table, level) for key, table in tables.items()}
    return Comparison(baseline, **tables, groups=groups, level=level, resamples=resamples, seed=seed)


class _Sampler:
    """Scores of every name on the same resampled groups of images."""

    def __init__(self, study: Study, groups: ImageGroups, generator: np.random.Generator) -> None:
        self._generator = generator
        self._classes = len(study.info.class_names)
        self._groups = groups.count
        ones = np.ones(len(groups.numbers))
        member = scipy.sparse.csr_array((ones, (np.arange(len(ones)), groups.numbers)))  # (images, groups)
        self._images: Array = member.sum(axis=0)  # of each group
        self._objects = object_cells(study.runs[0]) @ member
        self._cells = {
            name: [_stored(count_cells(run) @ member) for run in runs] for name, runs in study.groups.items()
        }
        self.bins = Bins(study.info, self._objects.sum(axis=1).reshape(self._classes, -1))

    def draw(self, resamples: int) -> Iterator[dict[str, Scores]]:
        """Draw resamples and yield their scores in pieces, with the resamples on the last axis."""
        counts_of_one = len(COUNTS) * self._objects.shape[0]
        step = max(1, min(resamples, _VALUES_PER_PIECE // max(counts_of_one, self._groups)))
        for first in range(0, resamples, step):
            count = min(step, resamples - first)
            weights = self._weights(count, self._groups, self._groups)
            runs = {name: len(cells) for name, cells in self._cells.items()}
            yield self.scores(weights, {name: self._weights(count, max(1, n - 1), n) for name, n in runs.items()})

    def scores(self, weights: Array, seed_weights: Mapping[str, Array] | None) -> dict[str, Scores]:
        """Compute the scores of every name.

        The weights are how often to count every group, (resamples, groups), and every run of a name, (resamples, runs).
        """
        drawn = np.ascontiguousarray(weights.T)
        objects = (self._objects @ drawn).reshape(self._classes, -1, len(weights))
        images = self._images @ drawn
        scores = {}
        for name, cells in self._cells.items():
            counts = ((each @ drawn).reshape(self._classes, -1, len(COUNTS), len(weights)) for each in cells)
            share = np.ones((len(weights), len(cells))) if seed_weights is None else seed_weights[name]
            scores[name] = _mean([score(each, objects, images, self.bins) for each in counts], share)
        return scores

    def _weights(self, resamples: int, draws: int, items: int) -> Array:
        """How often each item was drawn, (resamples, items)."""
        picked = self._generator.integers(items, size=(resamples, draws))
        picked += np.arange(resamples)[:, None] * items
        return np.bincount(picked.ravel(), minlength=resamples * items).reshape(resamples, items).astype(np.float64)


class _Tables:
    """Tables of scores and differences with their intervals, from exact and resampled scores by name."""

    def __init__(
        self, exact: Mapping[str, Scores], drawn: Mapping[str, Scores], *, baseline: str, tails: tuple[float, float]
    ) -> None:
        self._exact, self._drawn, self._baseline, self._tails = exact, drawn, baseline, tails

    def all(self, study: Study, bins: Bins) -> dict[str, pd.DataFrame]:
        """The tables of a comparison: means over classes by bucket, means over classes by fine bin, and classes."""
        names, buckets = study.info.class_names, study.info.bucket_names
        present, objects = (bins.objects.sum(1) > 0).sum(), bins.objects.sum()
        overall = {"size": [_ALL], "classes": [present], "objects": [objects]}
        by_bucket = {"size": buckets, **counted(bins.bucket_objects, bins.bucket_supported)}
        edges = [0, *bins.edges, np.inf]
        by_bin = {"low_edge": edges[:-1], "high_edge": edges[1:], **counted(bins.objects, bins.supported)}
        class_overall = {"class_name": names, "size": _ALL, "objects": bins.objects.sum(1)}
        class_by_bucket = {"class_name": np.repeat(names, len(buckets)), "size": np.tile(buckets, len(names))}
        class_by_bucket |= {"objects": bins.bucket_objects.ravel()}
        sizes = [_ALL, *buckets]
        by_size = {key: [*overall[key], *by_bucket[key]] for key in ("size", "classes", "objects")}
        found_by_size = {"size": sizes, **counted(with_total(bins.bucket_objects), bins.size_supported)}
        class_by_size = {"class_name": np.repeat(names, len(sizes)), "size": np.tile(sizes, len(names))}
        class_by_size |= {"objects": with_total(bins.bucket_objects).ravel()}
        means, curve, classes, found = [], [], [], []
        for name in study.names:
            for measure, score_of_all in (("miou", "miou"), ("mrecall", "mean_accuracy")):
                means.append(self._table(name, score_of_all, {"measure": measure, **overall}))
                means.append(self._table(name, f"bucket_{measure}", {"measure": measure, **by_bucket}))
                curve.append(self._table(name, f"curve_{measure}", {"measure": measure, **by_bin}))
            classes += [self._table(name, "iou", class_overall), self._table(name, "bucket_iou", class_by_bucket)]
            curve.append(self._table(name, "curve_found", {"measure": "found", **by_bin}))
            for kind in KINDS:
                means.append(self._table(name, f"lost_{kind}", {"measure": f"lost_{kind}", **by_size}))
            for measure in FOUND_MEASURES:
                means.append(self._table(name, measure, {"measure": measure, **found_by_size}))
                found.append(self._table(name, f"class_{measure}", {"measure": measure, **class_by_size}))
        parts = {"means": means, "curve": curve, "classes": classes, "found": found}
        return {key: pd.concat(tables, ignore_index=True) for key, tables in parts.items()}

    def _table(self, name: str, key: str, columns: Mapping[str, object]) -> pd.DataFrame:
        exact, drawn = (_flat(getattr(scores[name], key)) for scores in (self._exact, self._drawn))
        base, base_drawn = (_flat(getattr(scores[self._baseline], key)) for scores in (self._exact, self._drawn))
        low, high = intervals(drawn, self._tails)
        difference = (exact - base)[:, 0]
        difference_low, difference_high = intervals(drawn - base_drawn, self._tails)
        results = ["loss", "win"] if key.removeprefix("class_") in LOWER_IS_BETTER else ["win", "loss"]
        result = np.select([difference_low > 0, difference_high < 0], results, "tie")
        undefined = np.isnan(difference) | np.isnan(difference_low) if name != self._baseline else True
        return pd.DataFrame(
            {"name": name, **columns, "score": exact[:, 0], "score_low": low, "score_high": high}
            | {"difference": difference, "difference_low": difference_low, "difference_high": difference_high}
            | {"result": np.where(undefined, "", result)}
            | {"p": np.where(undefined, np.nan, p_values(drawn - base_drawn))}
        )


def _stored(cells: scipy.sparse.csr_array) -> scipy.sparse.csr_array | Array:
    """As a dense array if the dense product is faster."""
    return cells.toarray() if cells.nnz > _FULL * np.prod(cells.shape) else cells


def _flat(values: Array) -> Array:
    return values.reshape(-1, values.shape[-1])


def _mean(scores: Sequence[Scores], share: Array) -> Scores:
    """The mean over runs, with weights (resamples, runs); runs without a score are left out."""
    if len(scores) == 1:
        return scores[0]
    return Scores.combine(scores, lambda values: known_mean(np.stack(values, -1), share, axis=-1))
