"""The page of a check: findings, and for every class its counts, a bar and an example, in one HTML file."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from PIL import Image

from segattn.check.check_data import Report
from segattn.check.finding_tables import size_line
from segattn.check.split import SplitResult
from segattn.data.errors import DataError
from segattn.io.atomic_write import atomic_write
from segattn.io.overlay import blend

THUMBNAIL = (200, 150)
"""Largest width and height of an example in pixels."""

TEMPLATE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>segattn check</title>
<style>
 body { font: 14px/1.5 system-ui, sans-serif; margin: 2em; max-width: 75em }
 table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
 td:first-child, th:first-child { text-align: left } img { display: block }
 .swatch { display: inline-block; width: 1em; height: 1em; margin-right: .5em; vertical-align: middle }
 .bar { background: #69c; height: .7em } .error { color: #b00 } .warning { color: #a60 } .note { color: #06a }
 .files { color: #555; overflow-wrap: anywhere }
</style>
<h1>{{ data }}</h1>
<h2>Findings</h2>
{% if not findings %}<p>Nothing wrong.</p>{% endif %}
<ul>
{% for finding in findings %}
 <li><b class="{{ finding.severity }}">{{ finding.severity }}</b> {{ finding.split }}: {{ finding.what }}
 <br>{{ finding.remedy }}{% if finding.files %}<div class="files">{{ finding.where }}</div>{% endif %}</li>
{% endfor %}
</ul>
{% for split in splits %}
<h2>{{ split.title }}</h2>
<p>{{ split.sizes }} {{ split.ignored }}</p>
<table>
<tr><th>class<th>images<th>pixels<th>share<th>{% for name in split.buckets %}<th>{{ name }}{% endfor %}<th>example</tr>
{% for row in split.rows %}
<tr><td><span class="swatch" style="background: rgb{{ row.color }}"></span>{{ row.name }}
<td>{{ row.images }}<td>{{ row.pixels }}<td>{{ row.share }}<td style="width: 8em">
<div class="bar" style="width: {{ row.bar }}%"></div>
{% for count in row.objects %}<td>{{ count }}{% endfor %}
<td>{% if row.example %}<img src="{{ row.example }}" alt="{{ row.file }}" title="{{ row.file }}">{% endif %}</tr>
{% endfor %}
</table>
{% endfor %}
</html>
"""


def write_page(report: Report, path: Path) -> None:
    """Write the page.

    Args:
        report: what was found.
        path: of the file, which needs no other one.
    """
    page = Environment(autoescape=True).from_string(TEMPLATE)
    roots = sorted({str(result.dataset.root) for result in report.splits.values()})
    html = page.render(
        data=", ".join(roots),
        findings=report.findings,
        splits=[_split(result) for result in report.splits.values()],
    )
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="backslashreplace")


def _split(result: SplitResult) -> dict[str, Any]:
    total = max(1, int(result.pixels[:-1].sum()))
    most = max(1, int(result.pixels[:-1].max()))
    examples = result.examples()
    pictures = {index: _thumbnail(result, index) for index in sorted(set(examples.values()))}
    rows = [
        {
            "name": info.name,
            "color": info.color,
            "images": f"{result.images[index]:,}",
            "pixels": f"{result.pixels[index]:,}",
            "share": f"{result.pixels[index] / total:.2%}",
            "bar": round(100 * result.pixels[index] / most, 1),
            "objects": [f"{count:,}" for count in result.objects[index].tolist()],
            "example": pictures[examples[index]] if index in examples else "",
            "file": result.dataset.pairs[examples[index]].name if index in examples else "",
        }
        for index, info in enumerate(result.dataset.classes.classes)
    ]
    return {
        "title": f"{result.name}: {len(result.inspections)} of {len(result.dataset)} pairs",
        "sizes": size_line(result),
        "ignored": f"{int(result.pixels[-1]):,} pixels are ignored.",
        "buckets": result.sizes.names,
        "rows": rows,
    }


def _thumbnail(result: SplitResult, index: int) -> str:
    """An image under the colors of its classes, as an address that holds the picture itself."""
    try:
        raw = result.dataset.read(index)
    except DataError:  # it was whole a moment ago
        return ""
    small = Image.fromarray(raw.image)
    small.thumbnail(THUMBNAIL)
    mask = Image.fromarray(raw.mask).resize(small.size, Image.Resampling.NEAREST)
    colored = blend(np.array(small), np.array(mask), result.dataset.classes.palette)
    file = io.BytesIO()
    Image.fromarray(colored).save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
