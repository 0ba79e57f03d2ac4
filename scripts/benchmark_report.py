"""Measure a comparison: write records with many objects, load and resample them, and write the page.

    python scripts/benchmark_report.py                    # two records of a million rows
    python scripts/benchmark_report.py --rows 50000       # about the size of the validation split of ADE20K

Prints seconds and the peak memory of the process.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from segattn.objects.record_files import RecordInfo, RecordWriter
from segattn.report import compare, load_runs
from segattn.report.comparison_page import write_page


def write(path: Path, *, rows: int, images: int, classes: int, quality: float) -> None:
    """Write a record of objects of all sizes with a mean recall of ``quality``."""
    names = np.array([f"class {number}" for number in range(classes)], dtype=object)
    info = RecordInfo(list(names), (32**2, 96**2), ("small", "medium", "large"), extra={"run": path.stem})
    truth, found = np.random.default_rng(0), np.random.default_rng(int(1000 * quality))
    with RecordWriter(path, info) as writer:
        for image in range(images):
            count = rows * (image + 1) // images - rows * image // images
            size = np.exp(truth.uniform(1, 12, count)).astype(np.int64)
            class_id = truth.integers(classes, size=count)
            tp = (size * found.beta(4 * quality, 4 * (1 - quality), count)).astype(np.int64)
            other = (class_id + 1 + found.integers(classes - 1, size=count)) % classes
            lists = np.empty((2, count), dtype=object)
            for number in range(count):
                lists[0, number], lists[1, number] = [other[number]], [size[number] - tp[number]]
            corner = np.arange(count)
            writer.write(
                {
                    **{"image": np.full(count, f"{image:06d}.jpg", dtype=object), "class_name": names[class_id]},
                    **{"height": np.full(count, 512), "width": np.full(count, 683), "class_id": class_id},
                    **{"kind": np.full(count, "object", dtype=object), "size_px": size},
                    **{"y0": corner, "x0": corner, "y1": corner + 9, "x1": corner + 9},
                    **{"tp": tp, "fp": size // 10, "fn": size - tp, "recall": tp / size, "iou": tp / (size * 1.1)},
                    **{"fp_boundary": size // 20, "fn_boundary": (size - tp) // 2},
                    **{"boundary_px": size // 2, "max_width_px": np.sqrt(size), "elongation": np.ones(count)},
                    **dict.fromkeys(("touches_border", "touches_ignore", "merged"), size % 3 == 0),
                    **{"top_confusion": other, "confused_class": lists[0], "confused_px": lists[1]},
                }
            )


def main() -> int:
    """Write records, load and compare them, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 1_000_000), ("images", 2000), ("classes", 150), ("resamples", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default: {default}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{run}.parquet" for run in ("one", "two")]
        for path, quality in zip(paths, (0.6, 0.65), strict=True):
            write(path, rows=given.rows, images=given.images, classes=given.classes, quality=quality)
        megabytes = sum(path.stat().st_size for path in paths) / 1e6
        print(
            f"2 records of {given.rows:,} rows, {given.images:,} images and {given.classes} classes: {megabytes:.0f} MB"
        )
        start = time.perf_counter()
        study = load_runs(paths)
        loaded = time.perf_counter()
        comparison = compare(study, resamples=given.resamples)
        compared = time.perf_counter()
        write_page(study, comparison, folder / "index.html")
        done = time.perf_counter()
        size = (folder / "index.html").stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    parts = {"load": loaded - start, "resample": compared - loaded, "page": done - compared}
    print(", ".join(f"{part} {seconds:.1f} s" for part, seconds in parts.items()))
    print(f"total {done - start:.1f} s, peak {peak:.2f} GiB, page {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
