"""The page of ``segattn check --html``: findings, and counts and an example of every class."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segattn.check.data_check import Report
from segattn.check.split_result import SplitResult
from segattn.data.errors import DataError
from segattn.io.html_page import picture_uri, write_html
from segattn.io.overlay import blend
from segattn.io.raster_files import as_rgb

THUMBNAIL = (200, 150)
"""Largest width and height of an example in pixels."""


def write_page(report: Report, path: Path) -> None:
    """Write the page."""
    roots = sorted({str(result.dataset.root) for result in report.splits.values()})
    write_html(
        path,
        "check/assets/check.html",
        title=f"Check of {', '.join(roots)}",
        subtitle=f"{len(report.findings)} findings.",
        findings=report.findings,
        splits=[_split(result) for result in report.splits.values()],
    )


def _split(result: SplitResult) -> dict[str, Any]:
    total, most = (max(1, int(count)) for count in (result.pixels[:-1].sum(), result.pixels[:-1].max()))
    examples = result.examples()
    pictures = {index: _thumbnail(result, index) for index in sorted(set(examples.values()))}
    rows = [
        {
            "name": info.name,
            "color": info.color,
            "images": int(result.images[index]),
            "pixels": int(result.pixels[index]),
            "share": result.pixels[index] / total,
            "bar": round(100 * result.pixels[index] / most, 1),
            "objects": result.objects[index].tolist(),
            "example": pictures[examples[index]] if index in examples else "",
            "file": result.dataset.pairs[examples[index]].name if index in examples else "",
        }
        for index, info in enumerate(result.dataset.classes.classes)
    ]
    return {
        "title": f"{result.name}: {len(result.inspections)} of {len(result.dataset)} pairs",
        "sizes": result.size_line,
        "ignored": f"{int(result.pixels[-1]):,} pixels are ignored.",
        "heads": ["class", "images", "pixels", "share", *result.sizes.names],
        "rows": rows,
    }


def _thumbnail(result: SplitResult, index: int) -> str:
    """An image under the colors of its classes."""
    try:
        raw = result.dataset.read(index)
    except DataError:  # changed since it was checked
        return ""
    small = Image.fromarray(as_rgb(raw.image))
    small.thumbnail(THUMBNAIL)
    mask = Image.fromarray(raw.mask).resize(small.size, Image.Resampling.NEAREST)
    colored = blend(np.array(small), np.array(mask), result.dataset.classes.palette)
    return picture_uri(Image.fromarray(colored), "jpeg")
