"""``segattn check``: say what is wrong with the data of a config, and count its classes and objects."""

import json
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from rich.console import Console

from segattn import data
from segattn.check.check_data import Report, check_data
from segattn.check.check_page import write_page
from segattn.check.finding_tables import print_report, print_summary
from segattn.data.source import require_sound_data
from segattn.io.atomic_write import atomic_write
from segattn.io.config_files import FLAGS, expand_configs
from segattn.io.yaml_files import read_yaml
from segattn.objects.size_bins import ObjectSizes


def main(arguments: Sequence[str]) -> int:
    """Run the command; 1 where there are errors in the data.

    Raises:
        FileNotFoundError: if a config or the data is missing.
        ValueError: if a config is wrong.
        OSError: if a result cannot be written.
    """
    parser = _parser()
    config = parser.parse_args(_with_sources(_only_data(expand_configs(arguments[1:]))))
    require_sound_data(config.data)
    given = parser.instantiate(config)
    source: data.SegmentationSource = given.data
    source.prepare_data()
    report = check_data(
        source,
        every=given.all,
        sizes=given.model.object_sizes or ObjectSizes(),
        workers=source.loading_workers() if given.all else 0,
        progress=True,
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
    findings = [finding.to_json() for finding in report.findings]
    looked_at = {
        split: {"pairs": len(result.dataset), "looked_at": len(result.inspections)}
        for split, result in report.splits.items()
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps({"splits": looked_at, "findings": findings}, indent=1), encoding="utf-8")


def _only_data(arguments: Sequence[str]) -> list[str]:
    """Replace the path of every config by what it says of the data and the object sizes."""
    kept = list(arguments)
    for position, argument in enumerate(kept):
        if argument in FLAGS and position + 1 < len(kept):
            section = _data_section(Path(kept[position + 1]))
            kept[position + 1] = yaml.safe_dump(section, default_flow_style=True, width=math.inf)
    return kept


def _data_section(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    section = {"data": content["data"]} if content.get("data") else {}
    given = section.get("data")
    if isinstance(given, str):
        section["data"] = _as_source(given)
    elif isinstance(given, dict) and isinstance(given.get("class_path"), str):
        section["data"] = given | {"class_path": _as_source(given["class_path"])}
    model = content.get("model")
    if isinstance(model, dict) and "object_sizes" in model:
        section["model"] = {"object_sizes": model["object_sizes"]}
    return section


def _with_sources(arguments: Sequence[str]) -> list[str]:
    """Name the source in the arguments that name a data set."""
    named = list(arguments)
    for position, argument in enumerate(named):
        flag, equals, value = argument.partition("=")
        if flag in ("--data", "--data.class_path") and equals:
            named[position] = f"{flag}={_as_source(value)}"
        elif flag in ("--data", "--data.class_path") and position + 1 < len(named):
            named[position + 1] = _as_source(named[position + 1])
    return named


def _as_source(name: str) -> str:
    """The source of one of our data modules, which would bring torch and Lightning; what is none stays as it is."""
    bare = name.removeprefix("segattn.data.")
    source = f"{bare.removesuffix('DataModule')}Source" if bare.endswith("DataModule") else bare
    if source.endswith("Source") and source in data.__all__:
        return f"segattn.data.{source}"
    import_module("segattn.data.datamodule")  # so that the parser knows all names, wherever in the text they are
    return name


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="segattn check",
        description="Look for what is wrong with images and label files, and count classes and objects. The exit code "
        "is 1 if a training would fail or learn nonsense.",
    )
    parser.add_argument("--config", action="config", help="config of a training; its data section is read")
    parser.add_argument("--all", action="store_true", help="look at all files, not at 64 pairs of each split")
    parser.add_argument("--html", type=str, metavar="FILE", help="also write counts and examples as a page")
    parser.add_argument(
        "--fix-report", type=str, metavar="FILE", help="also write the findings as JSON, with all files"
    )
    parser.add_subclass_arguments(
        data.SegmentationSource, "data", required=True, help="the data module of a training, or its source"
    )
    parser.add_argument(
        "--model.object_sizes",
        type=ObjectSizes | None,
        default=ObjectSizes(),
        help="buckets that objects are counted by",
    )
    return parser
