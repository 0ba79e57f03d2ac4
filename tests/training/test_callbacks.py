"""What the progress bar shows."""

from types import SimpleNamespace

import pytest

from segattn.training.callbacks import ProgressBar


@pytest.mark.parametrize(("max_epochs", "shown"), [(5, "Epoch 3/4"), (-1, "Epoch 3"), (None, "Epoch 3")])
def test_progress_bar_shows_the_last_epoch_only_if_known(max_epochs, shown):
    bar = ProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=max_epochs, sanity_checking=False)
    assert bar._get_train_description(3).rstrip() == shown
