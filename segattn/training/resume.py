"""What a resumed run finds in its folder: the best checkpoint, the metrics, and incomplete files."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from segattn.training.metrics_file import MetricsFile


class ResumeInFolder(Callback):
    """Resumes a run in its folder, which may have been moved, copied or renamed.

    Args:
        folder: folder of the run's checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove incomplete checkpoints, which a killed process leaves behind."""
        if stage == "fit" and trainer.is_global_zero:
            for path in self.folder.glob("partial-*.ckpt"):
                path.unlink(missing_ok=True)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Replace the former folder in the states of the checkpoint callbacks before Lightning restores them.

        Otherwise Lightning forgets the best score, and a worse checkpoint would overwrite the best one. A state is
        dropped if its best checkpoint is not in the present folder, as in a new run that starts from another run's
        checkpoint.
        """
        states = checkpoint.get("callbacks", {})
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.state_key in states:
                moved = _moved(states.pop(callback.state_key), Path(str(callback.dirpath)))
                if Path(moved["best_model_path"]).is_file():
                    states[callback.state_key] = moved

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the metrics that were logged after the checkpoint."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.drop_from(trainer.global_step)


def _moved(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The state of a ``ModelCheckpoint`` with its paths in another folder."""
    former = Path(state["dirpath"])

    def moved(path: str) -> str:
        return str(folder / Path(path).relative_to(former)) if Path(path).is_relative_to(former) else path

    paths = {key: moved(state[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
    models = {moved(path): score for path, score in state["best_k_models"].items()}
    return {**state, **paths, "dirpath": str(folder), "best_k_models": models}
