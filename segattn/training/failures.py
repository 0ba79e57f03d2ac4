"""Messages of a run: one sentence for each failure that users can fix, and Lightning without its noise."""

import logging
import re
import warnings
from textwrap import shorten

from lightning.pytorch import Trainer

from segattn.data.errors import DataError
from segattn.io.error_text import is_out_of_memory

_WORKER_KILLED = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (.*)")
_IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker process \d+\.")


class InterruptedRunError(RuntimeError):
    """A run failed for a reason outside of the code; the message says what to try."""


def explain_failure(error: Exception, trainer: Trainer) -> str | None:
    """The sentence for an exception, or None if it is not one that users can fix."""
    text = str(error)
    command = trainer.state.fn.value if trainer.state.fn else "setup"
    where = f"in {command} at step {trainer.global_step} (epoch {trainer.current_epoch})"
    if is_out_of_memory(error):
        return (
            f"Out of memory {where}: try a smaller data.batch_size or data.crop_size, --trainer.precision bf16-mixed, "
            f"or, for validation, --inference.window."
        )
    if text.startswith("Error(s) in loading state_dict"):
        first = shorten(text.splitlines()[1], 200, placeholder=" ...").rstrip(" .")
        return (
            f"The checkpoint does not fit the model of the config ({first}): resume with the config of the run, or "
            f"start from the weights that fit with --model.init_from."
        )
    if killed := _WORKER_KILLED.search(text):
        return (
            f"A DataLoader worker was killed {where} ({killed[1].splitlines()[0].rstrip(' .')}), often because memory "
            f"ran out: try fewer data.num_workers; with 0 the original error is shown."
        )
    if _IN_WORKER.match(text):  # the message is the traceback of the worker; its last line is the error
        text = text.rstrip().splitlines()[-1].partition(": ")[2] or text.splitlines()[0]
    elif not isinstance(error, DataError):
        return None
    return f"{text.rstrip(' .')} ({where}; fix the problem and resume with --ckpt_path last)."


_NOISE = (
    "TPU available",
    "HPU available",
    "Loading `train_dataloader`",
    "You are using a CUDA device",
    "litlogger",
    "GPU available: False",
    "Seed set to",
    "Restoring states from the checkpoint",
    "Restored all states from the checkpoint",
    "Loaded model weights from the checkpoint",
)
_WARNINGS = (
    "LightningCLI's args parameter",  # the configs in the arguments were looked up
    ".*LeafSpec",
    ".*sync_dist=True",  # scores are of all processes already
    "The number of training batches .* is smaller than the logging interval",
    "The '.*_dataloader' does not have many workers",
    r"Found \d+ module\(s\) in eval mode at the start of training",  # a frozen encoder
    r"\s*Dump of a value that does not round-trip",  # tuples among the arguments of custom transforms
    "(Experiment logs directory|Checkpoint directory) .* exists and is not empty",  # a resumed run uses its folder
)


def quiet_lightning() -> None:
    """Hide Lightning's advertisements and the messages that users cannot act on."""
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).addFilter(lambda record: not any(noise in record.getMessage() for noise in _NOISE))
