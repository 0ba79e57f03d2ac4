"""``segattn check``: find problems in the data of a config, and count its classes and objects."""

import json
from argparse import HelpFormatter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jsonargparse import ArgumentParser
from rich.console import Console

from segattn.check.check_page import write_page
from segattn.check.data_check import Report, check_data
from segattn.check.finding_tables import print_report, print_summary
from segattn.data import SegmentationDataModule
from segattn.io.atomic_write import atomic_write
from segattn.io.config_files import FLAGS, expand_configs
from segattn.io.yaml_files import read_yaml
from segattn.objects.size_bins import ObjectSizes


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns 1 if there are errors in the data.

    Raises:
        FileNotFoundError: if a config or the data is missing.
        ValueError: if a config is wrong.
        OSError: if a result cannot be written.
    """
    parser = _parser()
    given = parser.instantiate(parser.parse_args(_data_sections(expand_configs(arguments[1:]))))
    data: SegmentationDataModule = given.data
    data.prepare_data()
    report = check_data(
        data,
        every=given.all,
        sizes=given.model.object_sizes or ObjectSizes(),
        workers=data.loading_workers() if given.all else 0,
    )
    console = Console(highlight=False)
    print_report(report, console)
    for path, write in ((given.fix_report, _write_findings), (given.html, write_page)):
        if path:
            write(report, Path(path))
            console.print(f"wrote {path}", markup=False, soft_wrap=True)
    print_summary(report, every=given.all)
    return 1 if report.errors else 0


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


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="segattn check",
        formatter_class=HelpFormatter,
        description="Find problems in images and label files, and count classes and objects. The exit code is 1 if "
        "training would fail or train a useless model.",
    )
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
