"""Runs with comparable object records: the same images, objects, classes and size edges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from segattn.io.printable import printable
from segattn.objects.record_files import COLUMNS, RecordError, RecordInfo, read_confusions, read_record

SPLITS = ("val", "test")
_LISTS = ("confused_class", "confused_px")
_OBJECT_KEY = ("image", "class_id", "size_px", "y0", "x0", "y1", "x1")
_MUST_BE_EQUAL = {
    "class_names": "classes",
    "edges": "size edges",
    "bucket_names": "size names",
    "relative": "units of the edges (relative)",
    "unit": "units of an object",
    "min_objects": "numbers of required objects per class (min_objects)",
}


@dataclass(frozen=True, eq=False)
class Run:
    """One evaluated checkpoint.

    Attributes:
        name: common to the runs of several seeds.
        label: unique among all runs.
        path: file of the record.
        rows: rows of the record, sorted by image, without the lists of confusions.
        confusions: as returned by :func:`segattn.objects.record_files.read_confusions`, with positions in ``rows``.
        info: metadata of the record.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> run = study.runs[0]
        >>> run.name, run.objects["class_name"].nunique()
        ('quickstart_fcn', 7)
    """

    name: str
    label: str
    path: Path
    rows: pd.DataFrame
    confusions: pd.DataFrame
    info: RecordInfo

    @cached_property
    def objects(self) -> pd.DataFrame:
        """The rows of objects, in the same order for all runs of a study."""
        return self.rows[self.rows["kind"] == "object"]


@dataclass(frozen=True, eq=False)
class Study:
    """Runs on the same images, grouped by name, with several seeds under one name.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> len(study.runs), len(study.images)
        (2, 6)
    """

    groups: Mapping[str, Sequence[Run]]

    @property
    def runs(self) -> list[Run]:
        """All runs."""
        return [run for runs in self.groups.values() for run in runs]

    @property
    def names(self) -> list[str]:
        """Names of the groups."""
        return list(self.groups)

    @property
    def info(self) -> RecordInfo:
        """Classes, edges, buckets and unit, which are the same for all runs."""
        return self.runs[0].info

    @property
    def images(self) -> list[str]:
        """Names of the images, sorted."""
        return list(self.runs[0].rows["image"].cat.categories)


def load_runs(paths: Sequence[str | Path], split: str = "val") -> Study:
    """Read the records of runs and check that they can be compared.

    Args:
        paths: folders of runs (``runs/NAME/version_0``), of all versions of a run (``runs/NAME``), or record files.
        split: ``val`` or ``test``, for folders.

    Raises:
        FileNotFoundError: if there is no record.
        ValueError: if a file is not a record or is given twice, or the runs cannot be compared.

    Examples:
        >>> from segattn import report
        >>> study = report.load_runs(["runs/quickstart_fcn", "runs/quickstart"])
        >>> study.names, study.info.bucket_names
        (['quickstart_fcn', 'quickstart'], ('small', 'medium', 'large'))
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    files = [file for path in paths for file in _find_records(Path(path), split)]
    if not files:
        raise ValueError("No runs are given.")
    places = [file.resolve() for file in files]
    repeated = sorted({str(file) for file, place in zip(files, places, strict=True) if places.count(place) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} was given twice.")
    runs = _labelled([_read(file) for file in files])
    for run in runs[1:]:
        _check_comparable(runs[0], run)
    return Study(_grouped(runs))


def _find_records(path: Path, split: str) -> list[Path]:
    """Find the record at a path, or those of all versions of a run."""
    name = f"objects_{split}.parquet"
    if path.is_file():
        return [path]
    if (path / name).is_file():
        return [path / name]
    versions = list(path.glob(f"version_*/{name}"))
    if not versions:
        raise FileNotFoundError(
            f"There is no object record {path / name}; segattn {'test' if split == 'test' else 'validate'} writes it."
        )
    return sorted(versions, key=lambda file: (len(file.parent.name), file.parent.name))


def _check_comparable(run: Run, other: Run) -> None:
    """Check that two runs have the same classes, sizes, images and objects."""
    cannot = f"{run.path} and {other.path} cannot be compared:"
    for key, what in _MUST_BE_EQUAL.items():
        one, two = getattr(run.info, key), getattr(other.info, key)
        if one != two:
            if isinstance(one, tuple):  # of long lists, show the first difference
                one, two = next(pair for pair in zip_longest(one, two, fillvalue="missing") if pair[0] != pair[1])
            raise ValueError(f"{cannot} the {what} differ: {one} and {two}.")
    images, other_images = (set(each.rows["image"].cat.categories) for each in (run, other))
    for lacking, missing in ((other, images - other_images), (run, other_images - images)):
        if missing:
            raise ValueError(f"{cannot} {len(missing)} images, such as {min(missing)}, are not in {lacking.path}.")
    one, two = (each.objects[list(_OBJECT_KEY)].reset_index(drop=True) for each in (run, other))
    if len(one) != len(two) or not (one == two).all(axis=None):
        image = pd.concat([one, two]).drop_duplicates(keep=False)["image"].astype(str).min()
        raise ValueError(f"{cannot} the ground truth differs in the image {image}.")


def _read(path: Path) -> Run:
    rows, info = read_record(path, columns=[name for name in COLUMNS if name not in _LISTS])
    _require_possible_counts(path, rows, classes=len(info.class_names))
    rows = rows.astype(dict.fromkeys(("image", "class_name", "kind"), "category"))
    order = np.argsort(rows["image"].cat.codes.to_numpy(), kind="stable")
    confusions = read_confusions(path)
    position = np.empty(len(rows), dtype=np.int64)
    position[order] = np.arange(len(rows))
    confusions["row"] = position[confusions["row"].to_numpy()]
    name = printable(info.extra.get("run", path.parent.name))
    version = info.extra.get("run_version")
    label = f"{name}/{printable(version)}" if version else name
    return Run(name, label, path, rows.iloc[order].reset_index(drop=True), confusions, info)


def _require_possible_counts(path: Path, rows: pd.DataFrame, *, classes: int) -> None:
    """Raise a RecordError if numbers in a record cannot be the result of counting."""
    if rows.empty:
        raise RecordError(f"{path} has no rows: no image has a labeled pixel.")
    counts, is_object = rows[["tp", "fp", "fn"]], rows["kind"] == "object"
    possible = {
        "kinds other than object and false_positive": rows["kind"].isin(["object", "false_positive"]),
        "classes that do not exist": rows["class_id"].between(0, classes - 1),
        "negative or missing counts": (counts >= 0).all(axis=1) & (rows["size_px"] >= 1),
        "counts that do not add up to the size (tp + fn)": ~is_object
        | (counts["tp"] + counts["fn"] == rows["size_px"]),
        "a missing recall or IoU": ~is_object | rows[["recall", "iou"]].notna().all(axis=1),
    }
    for what, holds in possible.items():
        if not holds.all():
            first = rows.loc[~holds, "image"].iloc[0]
            raise RecordError(
                f"{path} is damaged: {(~holds).sum()} rows have {what}, for example of the image {first}."
            )


def _grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by name; if all have the same name, each run is its own group."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.name, []).append(run)
    if len(groups) > 1 or len(runs) == 1:
        return groups
    return {run.label: [run] for run in runs}


def _labelled(runs: Sequence[Run]) -> list[Run]:
    """Add the folders to labels that are not unique, or the files if they share a folder."""
    labels, folders = [run.label for run in runs], [run.path.parent for run in runs]
    places = [run.path if folders.count(run.path.parent) > 1 else run.path.parent for run in runs]
    return [
        replace(run, label=printable(f"{run.label} in {place}")) if labels.count(run.label) > 1 else run
        for run, place in zip(runs, places, strict=True)
    ]
