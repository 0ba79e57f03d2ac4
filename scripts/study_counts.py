"""The counts of the controlled study, summed over groups of images so that they are small enough for the repository.

The bootstrap draws the groups in place of images; with 40 groups of 100 images this widens no interval, because the
images of the controlled set are independent of each other.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from segattn.data.controlled_shapes import CLASSES
from segattn.objects import read_record
from segattn.objects.record_files import RecordInfo
from segattn.report import Run, Study

COUNTS = Path(__file__).parent / "studies" / "controlled_counts"
"""One file per context, and the costs of the variants."""

CONTEXTS = ("none", "neighbor", "row", "column", "image")
SIDES = {"side4": 4, "side6": 6, "side9": 9, "side14": 14}
GROUPS = 40

STUDY = COUNTS.with_name("controlled.yaml")

_EDGES = (24, 54, 126)
_KEY = ["variant", "seed", "group", "class_id", "side"]


def add_records(records: Path, counts: Path) -> None:
    """Add the counts of all records of ``size_study.py`` in ``records``, one folder per context, to the files."""
    counts.mkdir(parents=True, exist_ok=True)
    for context in CONTEXTS:
        paths = sorted((records / context / "records" / "last").glob("*_seed_*.parquet"))
        if paths:
            new = pd.concat([run_counts(path) for path in paths])
            table = pd.concat([new, read_counts(counts, context)]).drop_duplicates(_KEY).sort_values(_KEY)
            table.to_parquet(counts / f"{context}.parquet", index=False, compression="zstd", compression_level=19)
        costs = records / context / "costs.csv"
        if costs.is_file():
            (counts / "costs.csv").write_bytes(costs.read_bytes())


def run_counts(path: Path) -> pd.DataFrame:
    """Sum ``tp``, ``fp`` and ``fn`` of a record by group of images, class and side of the objects."""
    name, _, seed = path.stem.rpartition("_seed_")
    rows = read_record(path, ["image", "class_id", "size_px", "tp", "fp", "fn"]).rows
    images = np.unique(rows["image"])
    groups = np.arange(len(images)) * min(GROUPS, len(images)) // len(images)
    rows["group"] = rows["image"].map(dict(zip(images, groups, strict=True)))
    rows["side"] = np.searchsorted(_EDGES, rows["size_px"], side="right")
    rows = rows[(rows["class_id"] > 0) & (rows["size_px"] < 600)]
    every = pd.MultiIndex.from_product([np.unique(groups), (1, 2), range(len(SIDES))], names=_KEY[2:])
    summed = rows.groupby(_KEY[2:])[["tp", "fp", "fn"]].sum().reindex(every, fill_value=0).reset_index()
    summed["images"] = np.bincount(groups)[summed["group"]]
    table = summed.assign(variant=name, seed=int(seed)).astype({"class_id": "int8", "side": "int8", "group": "int8"})
    return table[[*_KEY, "images", "tp", "fp", "fn"]]


def read_counts(counts: Path, context: str) -> pd.DataFrame | None:
    """The counts of all runs in a context by variant, seed, group, class and side; None if there are none."""
    path = counts / f"{context}.parquet"
    return pd.read_parquet(path) if path.is_file() else None


def read_studies(counts: Path) -> dict[str, Study]:
    """The study of each context that has two seeds of the variant ``none``."""
    tables = {context: table for context in CONTEXTS if (table := read_counts(counts, context)) is not None}
    studies = {context: as_study(table, counts / f"{context}.parquet") for context, table in tables.items()}
    return {context: study for context, study in studies.items() if "none" in study.names}


def as_study(table: pd.DataFrame, path: Path) -> Study:
    """The variants with two seeds or more, in which a group of images is an image."""
    info = RecordInfo(class_names=CLASSES.names, edges=_EDGES, bucket_names=tuple(SIDES))
    rows = table.assign(
        image=pd.Categorical(table["group"].map("{:02d}".format)),
        kind="object",
        size_px=np.square(list(SIDES.values()))[table["side"]],  # any size of the bucket
        fp_boundary=0,
        fn_boundary=0,
    )
    runs: dict[str, list[Run]] = {}
    for name, of_variant in rows.groupby("variant"):
        for seed, part in of_variant.groupby("seed"):
            run = Run(str(name), f"{name}/{seed}", path, part.reset_index(drop=True), pd.DataFrame(), info)
            runs.setdefault(run.name, []).append(run)
    return Study({name: runs[name] for name in variant_names() if len(runs.get(name, ())) > 1})


def variant_names() -> list[str]:
    """The variants of the study file."""
    return list(yaml.safe_load(STUDY.read_text()))
