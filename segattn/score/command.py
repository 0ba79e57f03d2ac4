"""``segattn score``: score folders of masks, whichever tool wrote them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console

from segattn.compare.command import compare_runs
from segattn.io.command_line import run_command
from segattn.io.printable import printable
from segattn.processes import start_processes
from segattn.score.folder_scoring import ScoreReport, score_folder


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return run_command(score, arguments[1:], prog="segattn score")


def score(
    *,
    truth: Annotated[Path, "DIR"],
    masks: Annotated[list[Path], "DIR"],
    classes: Annotated[str, "NAME|FILE"],
    output: Annotated[Path, "DIR"],
    values: Literal["ids", "indices"] = "ids",
    resize: Literal["nearest"] | None = None,
    incomplete: bool = False,
    instances: Annotated[Path | None, "DIR"] = None,
    images: Annotated[Path | None, "DIR"] = None,
    workers: int | None = None,
    devices: int = 1,
    num_nodes: int = 1,
) -> int:
    """Score folders of masks by object size.

    Each folder of masks is one model. Writes its object record to a folder of the same name below the output, and a web
    page that compares the models. An interrupted run continues with the images that are not finished.

    Args:
        truth: folder of label files
        masks: folders of masks with the relative paths or names of the label files
        classes: class file, or a shipped data set: ade20k, camvid, cityscapes,
            cocostuff, context59, context60, isaid, isprs, loveda or voc
        output: folder for the records, the page and the tables
        values: whether the masks contain the values of the label files or class indices
        resize: resize masks of another size than their label file; without it they are an error
        incomplete: score the other images if masks are missing or cannot be used
        instances: folder of instance maps; objects are then instances in place of connected components
        images: folder of images to name the rows after, so that the record can be compared with one of validate
        workers: number of reading processes of each process; default: one per core
        devices: number of processes on each machine; one with its workers uses all cores
        num_nodes: number of machines; every one of them runs the command, and the images are divided among them
    """
    names = _names(masks)
    for option, value, least in (("workers", workers, 0), ("devices", devices, 1), ("num-nodes", num_nodes, 1)):
        if value is not None and value < least:
            raise ValueError(f"--{option} must be at least {least}, got {value}.")
    processes = start_processes("cpu", devices=devices, num_nodes=num_nodes)
    reports = {}
    try:
        for name, folder in zip(names, masks, strict=True):
            reports[name] = score_folder(
                truth,
                folder,
                output / name / "objects_val.parquet",
                classes=classes,
                values=values,
                resize=resize,
                incomplete=incomplete,
                instances=instances,
                images=images,
                name=name,
                workers=processes.cores if workers is None else workers,
                processes=processes,
            )
            if processes.rank == 0:
                _print_report(name, reports[name])
    except KeyboardInterrupt:
        if processes.rank == 0:
            _print_lines("Stopped. Finished images are kept; the same command continues with the others.", error=True)
        raise
    if processes.rank > 0:
        return 0  # the first process writes the page
    return compare_runs([report.record for report in reports.values()], output=output, pictures=False)


def _names(masks: Sequence[Path]) -> list[str]:
    """The name of each folder or, if names repeat, its last two folders."""
    for parts in (1, 2):
        names = ["-".join(path.resolve().parts[-parts:]) for path in masks]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"The folders of masks need different names, got {', '.join(map(str, masks))}.")


def _print_report(name: str, report: ScoreReport) -> None:
    lines = [f"{name}: {report.images} images scored, object record {report.record}"]
    if report.resized:
        lines.append(f"note: {name}: {report.resized} masks were resized to the size of their label file")
    if report.extra:
        lines.append(f"note: {name}: {len(report.extra)} masks have no label file, for example {report.extra[0]}")
    lines += [f"not scored: {path} has no mask" for path in report.missing]
    lines += [f"not scored: {problem}" for problem in report.problems.values()]
    _print_lines(*lines)


def _print_lines(*lines: str, error: bool = False) -> None:
    Console(markup=False, highlight=False, soft_wrap=True, stderr=error).print("\n".join(map(printable, lines)))
