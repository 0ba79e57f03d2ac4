"""The quick check before a training."""

from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from segattn.check.check_data import Report, UnsoundDataError, check_data
from segattn.data import SegmentationSource
from segattn.data.dataset import incomplete_allowed


def refuse_nonsense(data: SegmentationSource) -> None:
    """The quick check before a training: warnings are printed, errors refused.

    Args:
        data: is set up for training, even if label files are missing, so that they are said beside all other errors.

    Raises:
        UnsoundDataError: if training would fail or learn nonsense.
    """
    with incomplete_allowed():
        data.setup("fit")
    report = check_data(data)
    if report.errors:
        lines = [
            f"\n  {finding.split}: {finding.what} {finding.where}\n    {finding.remedy}" for finding in report.errors
        ]
        raise UnsoundDataError(
            f"Training on this data would fail or learn nonsense (`segattn check` says more, --check false trains "
            f"nevertheless):{''.join(lines)}"
        )
    _print_warnings(report)


@rank_zero_only
def _print_warnings(report: Report) -> None:
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    for finding in report.findings:
        if finding.severity == "warning":
            console.print(f"warning: {finding.split}: {finding.what} {finding.remedy}")
