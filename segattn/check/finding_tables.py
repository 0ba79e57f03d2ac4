"""The console output of a check: the counts of every split, and the findings."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from segattn.check.data_check import Report
from segattn.check.findings import SEVERITIES, Finding
from segattn.check.split_result import SplitResult

COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


def print_report(report: Report, console: Console) -> None:
    """Print counts and findings."""
    for result in report.splits.values():
        console.print(count_table(result))
        console.print(size_line(result), soft_wrap=True)
    for finding in report.findings:
        _print_finding(finding, console)


def count_table(result: SplitResult) -> Table:
    """Images, pixels and objects of every class; classes that never occur are one row at the end."""
    title = f"{result.name}: {len(result.inspections)} of {len(result.dataset)} pairs read"
    table = Table("class", title=title, title_style="bold")
    for column in ("images", "pixels", "share", *result.sizes.names):
        table.add_column(column, justify="right")
    total = max(1, int(result.pixels[:-1].sum()))
    names = result.dataset.classes.names
    absent = 0
    for index, name in enumerate(names):
        pixels = int(result.pixels[index])
        if not pixels:
            absent += 1
            continue
        objects = [f"{count:,}" for count in result.objects[index].tolist()]
        table.add_row(escape(name), f"{result.images[index]:,}", f"{pixels:,}", f"{pixels / total:.2%}", *objects)
    table.add_section()
    if absent:
        table.add_row(f"{absent} absent classes", *["0"] * (3 + len(result.sizes.names)))
    table.add_row("ignored", "", f"{int(result.pixels[-1]):,}")
    return table


def size_line(result: SplitResult) -> str:
    """Explain the columns of object counts."""
    sizes = result.sizes
    unit = "of the image's area" if sizes.relative else "pixels"
    bounds = [f"{name} < {edge:g}" for name, edge in zip(sizes.names, sizes.edges, strict=False)]
    return f"Objects by size in {unit}: {' <= '.join([*bounds, sizes.names[-1]])}."


def print_summary(report: Report, *, every: bool) -> None:
    """Print one line with the result, on the error stream if there are errors."""
    counts = {severity: sum(finding.severity == severity for finding in report.findings) for severity in SEVERITIES}
    parts = [f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in counts.items() if count]
    is_sample = not every and not all(result.is_complete for result in report.splits.values())
    more = " in a sample; --all reads all files" if is_sample else ""
    text = f"{', '.join(parts) or 'no problems found'}{more}"
    if report.errors:
        text = f"segattn check: training on this data would fail or train a useless model: {text}."
    Console(stderr=bool(report.errors)).print(text, markup=False, highlight=False, soft_wrap=True)


def _print_finding(finding: Finding, console: Console) -> None:
    color = COLORS[finding.severity]
    console.print(f"[{color}]{finding.severity}[/] {finding.split}: {escape(finding.what)}", soft_wrap=True)
    if finding.files:
        console.print(f"  {escape(finding.where)}", soft_wrap=True)
    console.print(f"  -> {escape(finding.remedy)}", soft_wrap=True)
