"""``metrics.csv`` of a run: one file with the complete curve, also after resuming."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from segattn.io.atomic_write import atomic_write


class MetricsFile(CSVLogger):
    """Lightning's CSV logger, but appending to an existing file, which Lightning deletes."""

    @property
    def experiment(self) -> Any:
        """The writer of the file."""
        if self._experiment is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._experiment = _AppendingWriter(self.log_dir)
        return super().experiment

    def after_save_checkpoint(self, checkpoint_callback: object) -> None:
        """Write the rows before the checkpoint, so that resuming after a kill leaves no gap."""
        self.save()

    @rank_zero_only
    def drop_from(self, step: int) -> None:
        """Remove the rows from a step on: the resumed run logs them again."""
        path = Path(self.experiment.metrics_file_path)
        if path.is_file():
            fields, rows = _read(path)
            _write(path, fields, [row for row in rows if int(row["step"]) < step])


class _AppendingWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            self.metrics_keys = _read(path)[0]

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        _write(path, fieldnames, _read(path)[1])


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and the complete rows: a killed process can leave half a row at the end."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or []), [row for row in reader if None not in row.values()]


def _write(path: Path, fields: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
