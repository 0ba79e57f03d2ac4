"""``segattn check``: find problems in the data of a config, and count its classes and objects."""

import json
from argparse import HelpFormatter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import segattn.data
from segattn.check.check_page import write_page
from segattn.check.data_check import Report, check_data
from segattn.check.findings import SEVERITIES, Finding
from segattn.check.split_result import SplitResult
from segattn.data import SegmentationDataModule
from segattn.io.atomic_write import atomic_write
from segattn.io.config_errors import config_error
from segattn.io.config_files import FLAGS, expand_configs
from segattn.io.printable import printable
from segattn.io.yaml_files import read_yaml
from segattn.objects.size_bins import ObjectSizes

COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns 1 if there are errors in the data."""
    expanded = expand_configs(arguments[1:])
    parser = _parser(expanded)
    given = parser.instantiate(parser.parse_args(_data_sections(expanded)))
    data: SegmentationDataModule = given.data
    data.prepare_data()
    report = check_data(
        data,
        every=given.all,
        sizes=given.model.object_sizes or ObjectSizes(),
        workers=data.loading_workers() if given.all else 0,
    )
    console = Console(highlight=False)
    _print_report(report, console)
    for path, write in ((given.fix_report, _write_findings), (given.html, write_page)):
        if path:
            write(report, Path(path))
            console.print(f"wrote {path}", markup=False, soft_wrap=True)
    _print_summary(report, every=given.all)
    return 1 if report.errors else 0


def _print_report(report: Report, console: Console) -> None:
    """Print counts and findings."""
    for result in report.splits.values():
        console.print(_count_table(result))
        console.print(result.size_line, soft_wrap=True)
        if result.name == "train" and result.channel_line:
            console.print(escape(result.channel_line), soft_wrap=True)
    for finding in report.findings:
        _print_finding(finding, console)


def _count_table(result: SplitResult) -> Table:
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


def _print_summary(report: Report, *, every: bool) -> None:
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
    console.print(f"[{color}]{finding.severity}[/] {finding.split}: {escape(printable(finding.what))}", soft_wrap=True)
    if finding.files:
        console.print(f"  {escape(printable(finding.where))}", soft_wrap=True)
    console.print(f"  -> {escape(finding.remedy)}", soft_wrap=True)


def _write_findings(report: Report, path: Path) -> None:
    findings = [
        {"severity": finding.severity, **asdict(finding), "remedy": finding.remedy} for finding in report.findings
    ]
    splits = {
        split: {"pairs": len(result.dataset), "read": len(result.inspections)}
        for split, result in report.splits.items()
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"splits": splits, "findings": findings}, indent=1), encoding="utf-8")


def _data_sections(arguments: Sequence[str]) -> list[str]:
    """Replace the path of every config by its data section and its object sizes, as JSON."""
    replaced = list(arguments)
    for position, argument in enumerate(replaced[:-1]):
        if argument in FLAGS:
            content = read_yaml(Path(replaced[position + 1]))
            section = {"data": content["data"]} if content.get("data") else {}
            if "object_sizes" in content.get("model", {}):
                section["model"] = {"object_sizes": content["model"]["object_sizes"]}
            replaced[position + 1] = json.dumps(section, default=str)
    return replaced


class _Parser(ArgumentParser):
    """A parser that reports an error in one sentence."""

    arguments: Sequence[str] = ()

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        keys = [action.dest for action in self._actions]
        sentence = config_error(message, self.arguments, keys=keys, classes=segattn.data.__all__)
        self.exit(2, f"segattn check: {printable(sentence)}\n")
        raise AssertionError


def _parser(arguments: Sequence[str]) -> ArgumentParser:
    parser = _Parser(
        prog="segattn check",
        formatter_class=HelpFormatter,
        description="Find problems in images and label files, and count classes and objects. The exit code is 1 if "
        "training would fail or train a useless model.",
    )
    parser.arguments = arguments
    parser.add_argument("--config", action="config", help="config of a training run; its data section is read")
    parser.add_argument("--all", action="store_true", help="read all files instead of 64 pairs per split")
    parser.add_argument("--html", type=str, metavar="FILE", help="also write counts and examples as an HTML page")
    parser.add_argument(
        "--fix-report", type=str, metavar="FILE", help="also write the findings as JSON, with all affected files"
    )
    parser.add_subclass_arguments(
        SegmentationDataModule, "data", required=True, help="data module, such as CamVidDataModule"
    )
    parser.add_argument(
        "--model.object_sizes", type=ObjectSizes | None, default=ObjectSizes(), help="size bins of the object counts"
    )
    return parser
