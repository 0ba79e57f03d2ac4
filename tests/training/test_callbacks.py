"""What the progress bar and the tables of scores show."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from segattn.heads import FCNHead
from segattn.models.encoders import EncoderSpec
from segattn.sample import ClassInfo, ClassTable
from segattn.training.callbacks import ProgressBar, print_scores
from segattn.training.task import SegmentationTask


@pytest.mark.parametrize(("max_epochs", "shown"), [(5, "Epoch 3/4"), (-1, "Epoch 3"), (None, "Epoch 3")])
def test_progress_bar_shows_the_last_epoch_only_if_known(max_epochs, shown):
    bar = ProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=max_epochs, sanity_checking=False)
    assert bar._get_train_description(3).rstrip() == shown


@pytest.mark.parametrize(("count", "row"), [(3, None), (4, "1 absent class "), (182, "179 absent classes ")])
def test_tables_of_scores_count_absent_classes_in_one_row(capsys, count, row):
    classes = ClassTable(tuple(ClassInfo(f"class {index}", (0, 0, 0), index) for index in range(count)))
    head = partial(FCNHead, channels=8, stage3_channels=8)
    task = SegmentationTask(classes, encoder=EncoderSpec("tu-test_resnet", None, 8), head=head)
    mask, prediction = torch.zeros(2, 1, 9, 12, dtype=torch.long)
    mask[:, :4] = 1
    prediction[:, 6:] = 2  # occurs nowhere: only false positives
    batch = {"image": torch.zeros(1, 3, 9, 12), "mask": mask, "name": ["a"]}
    task.evaluation.update(prediction, batch, with_sizes=True, with_further=True)
    task.evaluation.compute(with_sizes=True, with_further=True)
    print_scores(task, "val")
    printed = capsys.readouterr().out
    rows = [line.strip("│ ") for line in printed.splitlines()]
    assert [line.split(" │")[0].strip() for line in rows if line.startswith("class ") and "│" in line] == (
        ["class 0", "class 1", "class 2"] * 3
    )
    assert printed.count("absent") == (row is not None)
    assert row is None or any(line.startswith(row) for line in rows)
