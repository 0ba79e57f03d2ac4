"""What a run tells its user: what goes wrong in one sentence, and nothing of what nobody can mend."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten

from lightning.pytorch import Trainer

from segattn.data.errors import DataError
from segattn.io.error_text import is_out_of_memory

_WORKER_DIED = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (.*)")
_IN_WORKER = re.compile(r"Caught \w+ in DataLoader worker process \d+\.")


class InterruptedRunError(RuntimeError):
    """A run ended by something that is no mistake in the code; the message says what to try."""


@contextmanager
def in_one_sentence(trainer: Trainer) -> Iterator[None]:
    """Turn what users can mend into one sentence; everything else passes as it is.

    Args:
        trainer: that runs meanwhile.

    Raises:
        InterruptedRunError: in place of running out of memory, a loading process that died, and an unusable file.
    """
    try:
        yield
    except Exception as error:
        sentence = explain_failure(error, trainer)
        if sentence is None:
            raise
        raise InterruptedRunError(sentence) from error


def explain_failure(error: Exception, trainer: Trainer) -> str | None:
    """The sentence for an exception; None for those that need none."""
    text = str(error)
    command = trainer.state.fn.value if trainer.state.fn else "set-up"
    where = f"in {command} at step {trainer.global_step} (epoch {trainer.current_epoch})"
    if is_out_of_memory(error):
        return (
            f"Out of memory {where}: take a smaller data.batch_size or data.crop_size, --trainer.precision bf16-mixed, "
            f"or, for whole images, data.size_rule with a window."
        )
    if text.startswith("Error(s) in loading state_dict"):
        first = shorten(text.splitlines()[1], 200, placeholder=" ...").rstrip(" .")
        return (
            f"The checkpoint does not fit the model of the config ({first}): go on with the run's own config, or take "
            f"what fits with --model.init_from."
        )
    if died := _WORKER_DIED.search(text):
        return (
            f"A loading process died {where} ({died[1].splitlines()[0].rstrip(' .')}): often memory runs out, so take "
            f"fewer data.num_workers; with 0 of them the reason shows."
        )
    if _IN_WORKER.match(text):  # the message is the traceback of the worker, whose last line says what it was
        text = text.rstrip().splitlines()[-1].partition(": ")[2] or text.splitlines()[0]
    elif not isinstance(error, DataError):
        return None
    return f"{text.rstrip(' .')} ({where}; mend it and go on with --ckpt_path last)."


def quiet_lightning() -> None:
    """Leave out Lightning's advertisement, and what it says of things that no user can mend."""
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")  # the configs in them were looked up
    warnings.filterwarnings("ignore", message=".*LeafSpec")
    warnings.filterwarnings("ignore", message=".*sync_dist=True")  # scores are of all processes already
    for folder in ("Experiment logs directory", "Checkpoint directory"):  # a resumed run goes on in its folder
        warnings.filterwarnings("ignore", message=f"{folder} .* exists and is not empty")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage()
    )
