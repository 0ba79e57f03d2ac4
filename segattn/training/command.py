"""``segattn fit``, ``validate`` and ``test``: LightningCLI over the task and the data modules."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from inspect import isclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from jsonargparse import SUPPRESS
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

import segattn.attention
import segattn.data
import segattn.heads
import segattn.training.losses
from segattn.check import check_before_fit
from segattn.checkpoints import TrainedModel, checkpoint_file, load_model, require_resumable, run_of
from segattn.checkpoints.lightning_io import AtomicCheckpointIO
from segattn.data import SegmentationDataModule
from segattn.data.errors import DataError, DataNotFoundError
from segattn.data.workers import available_cores
from segattn.inference import InferenceConfig
from segattn.io.config_errors import config_error
from segattn.io.config_files import expand_configs, read_config
from segattn.io.error_text import one_line
from segattn.io.printable import printable
from segattn.io.yaml_files import parse_yaml
from segattn.processes import limit_threads
from segattn.sample import ClassTable
from segattn.training.callbacks import GracefulStop, OverlayImages, ProgressBar, ScoreTable, ValidateAtEnd
from segattn.training.failures import InterruptedRunError, explain_failure, quiet_lightning
from segattn.training.metrics_file import MetricsFile
from segattn.training.model_table import ModelTable
from segattn.training.provenance import config_differences, record_start
from segattn.training.record_callback import RecordObjects
from segattn.training.resume import ResumeInFolder
from segattn.training.run_folders import claim_folder, run_name
from segattn.training.task import SegmentationTask

CLASSES_IN_CONFIGS = (
    *(*segattn.attention.__all__, *segattn.heads.__all__, *segattn.data.__all__),
    *(
        name
        for module in (segattn.training.losses, torch.optim)
        for name, each in vars(module).items()
        if isclass(each)
    ),
)
"""The classes that configs can name without their module, because it is imported."""

_STATE_OF_OPTIMIZER = ("model.optimizer", "model.encoder.freeze", "model.layer_decay", "model.head_lr_factor")
"""Keys of the config whose values are part of the state of the optimizer, which resuming restores."""

_LOWER_IS_BETTER = ("loss", "false_alarms")
"""First parts of the names of scores of which the lowest is the best."""


def main(arguments: Sequence[str]) -> int:
    """Run ``fit``, ``validate`` or ``test`` with the arguments of the command line."""
    quiet_lightning()
    options = ["--help" if argument == "--help-all" else argument for argument in arguments]
    try:
        SegattnCLI(expand_configs(options), run_name=run_name(arguments), command=arguments)
    except MisconfigurationException as error:
        raise ValueError(f"{one_line(error).rstrip('!')}.") from error
    except ValueError as error:  # the argument parser wraps errors of linked arguments
        if isinstance(error.__cause__, DataError | DataNotFoundError):
            raise error.__cause__ from None
        raise
    return 0


class SegattnCLI(LightningCLI):
    """LightningCLI in which every run has a folder with logs, checkpoints and the complete config.

    Args:
        args: the command line, beginning with the name of the command, with configs as paths.
        run_name: default of ``--name``.
        command: the original command line, which is recorded.
    """

    def __init__(self, args: list[str], run_name: str, command: Sequence[str]) -> None:
        self.chosen = args[0]
        self.arguments = args
        self.run_name = run_name
        self.command = list(command)
        self.differences: list[str] = []
        self.checkpoint: Path | None = None
        self.trained: TrainedModel | None = None
        super().__init__(
            SegmentationTask,
            SegmentationDataModule,
            subclass_mode_data=True,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,  # the task does
            parser_kwargs={"allow_abbrev": False},
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run, and take classes and size rule from the data module."""
        parser.add_argument("--base", type=list[str] | str | None, help="configs that a config extends")
        parser.add_argument("--name", type=str, default=self.run_name, help="name of the run")
        parser.add_argument("--output", type=str, default="runs", help="folder of all runs")
        parser.set_defaults({"trainer.log_every_n_steps": 10})
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        best = {"monitor": "val/miou", "mode": "max", "filename": "best", "enable_version_counter": False}
        parser.set_defaults({f"checkpoint.{key}": value for key, value in best.items()})
        parser.link_arguments("data", "model.classes", compute_fn=self._classes_of, apply_on="instantiate")
        parser.link_arguments("data", "model.channels", compute_fn=_channels_of, apply_on="instantiate")
        parser.add_class_arguments(InferenceConfig, "inference")
        parser.link_arguments("data.size_rule", "inference.size_rule", apply_on="instantiate")
        parser.link_arguments("inference", "model.inference", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=lambda seed: int(seed or 0))

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Return a parser that reports an error in one sentence."""
        parser = super().init_parser(**kwargs)

        def explain(message: str, ex: Exception | None = None) -> NoReturn:
            keys = [action.dest for action in self._subcommand_parsers[self.chosen]._actions]
            sentence = config_error(message, self.arguments, keys=keys, classes=CLASSES_IN_CONFIGS)
            parser.exit(2, f"segattn {self.chosen}: {printable(sentence)}\n")
            raise AssertionError

        parser.error = explain  # type: ignore[method-assign]
        return parser

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static in Lightning
        """Return only the subcommand that is run, because building each parser takes more than a second."""
        every = super().subcommands()
        return {name: skipped for name, skipped in every.items() if name == self.chosen}

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        text = "check a sample of the labels before training"  # hidden elsewhere, because all commands share configs
        parser.add_argument("--check", type=bool, default=True, help=text if subcommand == "fit" else SUPPRESS)
        if subcommand != "fit":
            parser.set_defaults(verbose=False)  # ScoreTable prints the scores
        return parser

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would read arguments from the checkpoint and import the classes that they name."""

    def _classes_of(self, data: SegmentationDataModule) -> ClassTable:
        """The classes of the data, after checking that it exists and before any weights are downloaded."""
        data.prepare_data()
        if self.subcommand == "fit" and self.config.fit.check:
            check_before_fit(data)
        else:
            data.setup(str(self.subcommand))
        return data.classes

    def before_instantiate_classes(self) -> None:
        """Find the checkpoint, which replaces all other weights."""
        config = self.config[self.subcommand]
        config.base = None  # already merged, and its paths are relative to another folder than that of the saved config
        self._prepare_best_checkpoint(config.checkpoint)
        given = config.get("ckpt_path")
        if not given and self.subcommand != "fit" and not config.model.init_from:
            raise ValueError(f"{self.subcommand} needs a checkpoint: --ckpt_path best, last or FILE.")
        root = Path(config.output) / config.name
        if given:
            named = given in ("last", "best")
            self.checkpoint = checkpoint_file(root, given) if named else checkpoint_file(Path(given))
            config.ckpt_path = str(self.checkpoint)
            if self.subcommand == "fit":
                require_resumable(self.checkpoint)
                self.differences = self._differences(config)
            else:
                self.trained = load_model(self.checkpoint)
            config.model.encoder.weights = config.model.init_from = None
            config.model.init_part = "all"
        self.in_place = self.subcommand == "fit" and given == "last"
        if config.trainer.logger is False or (self.in_place and (self.folder / "config.yaml").is_file()):
            self.save_config_callback = None  # a resumed run keeps its first config

    @staticmethod
    def _prepare_best_checkpoint(checkpoint: Any) -> None:
        """Minimize scores of which the lowest is the best, and validate that several checkpoints have several names."""
        if checkpoint.save_top_k not in (0, 1) and "{" not in checkpoint.filename:
            raise ValueError(
                f"checkpoint.save_top_k {checkpoint.save_top_k} needs a name for each checkpoint: set "
                f"checkpoint.filename, for example to '{{epoch}}' (without it, {checkpoint.filename}.ckpt is the best)."
            )
        if str(checkpoint.monitor).rpartition("/")[2].startswith(_LOWER_IS_BETTER):
            checkpoint.mode = "min"

    @cached_property
    def folder(self) -> Path:
        """The folder to write into: that of the resumed or evaluated run, or a new one."""
        if self.checkpoint and self.in_place:
            return run_of(self.checkpoint)
        if self.checkpoint and self.subcommand != "fit":
            return run_of(self.checkpoint) / str(self.subcommand)
        config = self.config[self.subcommand]
        return claim_folder(Path(config.output) / config.name)

    def _use_trained_model(self) -> None:
        """Evaluate the model that the checkpoint describes, regardless of the model in the config."""
        if self.trained is None:
            return
        if self.trained.classes.names != self.model.classes.names:
            own, other = (", ".join(table.names) for table in (self.trained.classes, self.model.classes))
            raise ValueError(f"The checkpoint has the classes {own}, but the data has {other}: they must be the same.")
        channels = [model.spec.channels for model in (self.trained.model, self.model.model)]
        if channels[0] != channels[1]:
            named = [f"{number} channels" if number else "8-bit RGB" for number in channels]
            raise ValueError(
                f"The checkpoint is for images of {named[0]}, but the data has {named[1]}: set data.channels."
            )
        self.model.use_model(self.trained.model)

    before_validate = before_test = _use_trained_model

    def _differences(self, config: Any) -> list[str]:
        """Differences between the config and that of the run that is resumed."""
        saved = run_of(Path(config.ckpt_path)) / "config.yaml"
        if not saved.is_file():
            return []
        now = parse_yaml(self._parser(self.subcommand).dump(config, skip_none=False))
        differences = config_differences(read_config(saved), now)
        for difference in differences:
            # A key that was "nothing" did not exist when the run started.
            if difference.startswith(_STATE_OF_OPTIMIZER) and ": nothing ->" not in difference:
                raise ValueError(
                    f"A run must resume with its own optimizer and trained parameters ({difference}): keep them, or "
                    f"start a new run from the checkpoint with --model.init_from."
                )
        return differences

    def before_fit(self) -> None:
        """Record the start; print the origin of the weights, changes of the config, and attention without effect."""
        config, model = self.config.fit, self.model.model
        if self.trainer.logger is not None and self.trainer.is_global_zero:
            record_start(self.folder, self.command, seed=config.get("seed_everything"))
        if self.differences:
            rank_zero_info("the config differs from that of the run:\n  " + "\n  ".join(self.differences))
        weights = f"encoder weights: {config.model.encoder.weights or 'random'}; attention and head weights: random"
        if config.get("ckpt_path"):
            weights = f"all weights: {config.ckpt_path}"
        rank_zero_info("\n".join(self.model.initialized or [weights]))
        if model.spec.encoder.freeze and weights.startswith("encoder weights: random") and not self.model.initialized:
            rank_zero_info("warning: the frozen encoder has random weights: set model.encoder.weights or init_from")
        if idle := model.idle_attention:
            levels = ", ".join(map(str, idle))
            reason = f"{type(model.head).__name__} does not read level {levels}"
            rank_zero_info(f"warning: {reason}: attention at that level has no effect")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create the trainer, with the loggers of a run unless the config has its own."""
        trainer = self.config_init[self.subcommand].trainer
        if trainer.logger is None or trainer.logger is True:
            place: dict[str, Any] = {"name": self.folder.parent.name, "version": self.folder.name}
            save_dir = self.folder.parent.parent
            csv_logger = MetricsFile if self.subcommand == "fit" else CSVLogger
            kwargs["logger"] = [csv_logger(save_dir, **place), TensorBoardLogger(save_dir, **place)]
        given = trainer.plugins if isinstance(trainer.plugins, list) else [trainer.plugins] if trainer.plugins else []
        kwargs["plugins"] = [*given, AtomicCheckpointIO()]
        try:
            return super().instantiate_trainer(**kwargs)
        except (TypeError, MisconfigurationException) as error:
            with suppress(OSError):
                self.folder.rmdir()  # if it is new and therefore empty
            if not isinstance(error, TypeError):
                raise
            raise ValueError(  # invalid devices
                f"The trainer cannot be created: {one_line(error)}."
            ) from error

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        own: list[Callback] = [OverlayImages(), ValidateAtEnd()]
        if config.get("enable_progress_bar") is not False:
            own.append(ProgressBar())
        if config.pop("enable_model_summary", None) is not False:
            own.append(ModelTable(self.datamodule.crop_size))
        config["enable_model_summary"] = False  # Lightning's
        own.append(ScoreTable())  # after the progress bar has ended
        if config.get("logger") is not False:
            own.append(LearningRateMonitor(logging_interval="step"))
        if config.get("enable_checkpointing") is False:
            return super()._instantiate_trainer(config, own)
        best: ModelCheckpoint = self.config_init[self.subcommand].checkpoint
        own.append(self._record_callback())
        if best.dirpath is None:  # not a default: a saved config must not name the folder of its run
            evaluated = self.checkpoint if self.subcommand != "fit" else None
            best.dirpath = str((evaluated.parent if evaluated else self.folder / "checkpoints").absolute())
        # After `best`, so that `last` contains the best score.
        last = ModelCheckpoint(best.dirpath, filename="last", enable_version_counter=False)
        own += [ResumeInFolder(Path(best.dirpath)), GracefulStop(Path(best.dirpath))]
        return super()._instantiate_trainer(config, [*own, *callbacks, last])

    def _record_callback(self) -> RecordObjects:
        """The callback that writes the object record into the folder of the evaluated run."""
        folder = run_of(self.checkpoint) if self.checkpoint else self.folder
        data = type(self.datamodule).__name__.removesuffix("DataModule")
        name = self.checkpoint.name if self.checkpoint else ""
        keys = {"run": folder.parent.name, "run_version": folder.name, "data": data, "checkpoint": name}
        return RecordObjects(folder, keys)

    def _share_cores(self) -> None:
        """Limit the threads to the cores, and print the numbers of both and of the workers."""
        processes, cores = self.trainer.num_devices, available_cores()
        limit_threads(processes)
        threads, workers = torch.get_num_threads(), self.datamodule.loading_workers(processes)
        text = f"{cores} cores for {processes} x {threads} threads and {processes} x {workers} DataLoader workers"
        if processes * threads > max(processes, cores):
            text = f"warning: {text}: threads that share a core are slow; set OMP_NUM_THREADS to a smaller number"
        rank_zero_info(text)

    def _run_subcommand(self, subcommand: str) -> None:
        self._share_cores()
        try:
            super()._run_subcommand(subcommand)
        except Exception as error:
            sentence = explain_failure(error, self.trainer)
            if sentence is None:
                raise
            raise InterruptedRunError(sentence) from error


def _channels_of(data: SegmentationDataModule) -> int | None:
    return data.channels
