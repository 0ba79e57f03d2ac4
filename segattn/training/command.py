"""``segattn fit``, ``validate`` and ``test``: LightningCLI over the task and the data modules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import SUPPRESS
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

import segattn.attention
import segattn.training.losses
from segattn.check import check_before_fit
from segattn.checkpoints import TrainedModel, checkpoint_file, load_model, require_resumable
from segattn.checkpoints.lightning_io import AtomicCheckpointIO
from segattn.data import SegmentationDataModule
from segattn.data.errors import DataError, DataNotFoundError
from segattn.inference import InferenceConfig
from segattn.io.config_files import data_seed, expand_configs, require_sound
from segattn.io.error_text import one_line
from segattn.io.yaml_files import read_yaml
from segattn.sample import ClassTable
from segattn.training.callbacks import OrderlyStop, OverlayImages, ProgressBar, ScoreTable, ValidateAtEnd
from segattn.training.failures import in_one_sentence, quiet_lightning
from segattn.training.model_table import ModelTable
from segattn.training.provenance import config_differences, record_start, require_same_optimizer
from segattn.training.record_callback import RecordObjects
from segattn.training.run_folders import find_checkpoint, keep_old_metrics, run_folder, run_name
from segattn.training.task import SegmentationTask

NAMED_IN_CONFIGS = (segattn.attention, segattn.training.losses)
"""Imported so that configs can name their classes without the module; task and data bring the others."""


def main(arguments: Sequence[str]) -> int:
    """Run ``fit``, ``validate`` or ``test`` with the arguments of the command line.

    Raises:
        FileNotFoundError: if a config or the data is missing.
        ValueError: if a config or the data is wrong.
    """
    quiet_lightning()
    options = ["--help" if argument == "--help-all" else argument for argument in arguments]
    try:
        SegattnCLI(expand_configs(options), run_name=run_name(arguments), command=arguments)
    except MisconfigurationException as error:
        raise ValueError(f"{one_line(error).rstrip('!')}.") from error
    except ValueError as error:  # the argument parser wraps what is raised while it links data and model
        if isinstance(error.__cause__, DataError | DataNotFoundError):
            raise error.__cause__ from None
        raise
    return 0


class SegattnCLI(LightningCLI):
    """LightningCLI with the project's defaults: one run, one folder, with logs, checkpoints and the full config.

    Args:
        args: the command line, with configs given as paths.
        run_name: the folder of the run below ``--output``, unless ``--name`` says another.
        command: the command line as it was given, for the record.
    """

    def __init__(self, args: ArgsType, run_name: str, command: Sequence[str]) -> None:
        self.run_name = run_name
        self.command = list(command)
        self.differences: list[str] = []
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
        """The arguments of a run, and what the data tells the model."""
        parser.add_argument("--base", type=list[str] | str | None, help="configs that a config file builds on")
        parser.add_argument("--name", type=str, default=self.run_name, help="name of the run")
        parser.add_argument("--output", type=str, default="runs", help="folder of all runs")
        parser.set_defaults({"trainer.log_every_n_steps": 10})
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        best = {"monitor": "val/miou", "mode": "max", "filename": "best", "enable_version_counter": False}
        parser.set_defaults({f"checkpoint.{key}": value for key, value in best.items()})
        parser.link_arguments("data", "model.classes", compute_fn=self._classes_of, apply_on="instantiate")
        parser.add_class_arguments(InferenceConfig, "inference")
        parser.link_arguments("data.size_rule", "inference.size_rule", apply_on="instantiate")
        parser.link_arguments("inference", "model.inference", apply_on="instantiate")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=data_seed)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        text = "look at a sample of the data first, and refuse what would train nonsense"
        parser.add_argument("--check", type=bool, default=True, help=text if subcommand == "fit" else SUPPRESS)
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Refuse an option where it has no effect; configs are shared by all subcommands and may hold it."""
        given = args if isinstance(args, list) else []
        if given[:1] != ["fit"] and any(argument.partition("=")[0] == "--check" for argument in given):
            parser.error("--check is an option of fit: validate and test score the data as it is.")
        super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Leave out what Lightning does here: to take arguments, and thereby code to import, from the checkpoint."""

    def _classes_of(self, data: SegmentationDataModule) -> ClassTable:
        """The classes of data that is there: better to miss it now than after weights were downloaded."""
        data.prepare_data()
        if self.subcommand == "fit" and self.config.fit.check:
            check_before_fit(data)
        else:
            data.setup(str(self.subcommand))
        return data.classes

    def before_instantiate_classes(self) -> None:
        """Choose the folder of the run; where a checkpoint gives the weights, ask for no others."""
        config = self.config[self.subcommand]
        require_sound(config)
        config.base = None  # merged already, and its paths mean nothing where the run's config is saved
        root = Path(config.output) / config.name
        self.folder = run_folder(root, resumed=config.get("ckpt_path") == "last")
        if config.get("ckpt_path") in ("last", "best"):
            config.ckpt_path = find_checkpoint(self.folder, config.ckpt_path)
        if config.get("ckpt_path"):
            config.ckpt_path = str(checkpoint_file(Path(config.ckpt_path)))
            if self.subcommand == "fit":
                require_resumable(config.ckpt_path)
                self.differences = self._differences(config)
                require_same_optimizer(self.differences)
            config.model.encoder.weights = config.model.init_from = None
            config.model.init_part = "all"
            if self.subcommand != "fit":
                self.trained = load_model(config.ckpt_path)
        if config.trainer.logger is False or (self.folder / "config.yaml").is_file():
            self.save_config_callback = None  # nothing is kept, or a resumed run keeps the config that it began with

    def _use_trained_model(self) -> None:
        """Evaluate the model that the checkpoint describes, whatever the config says about the model."""
        if self.trained is None:
            return
        if self.trained.classes.names != self.model.classes.names:
            own, other = (", ".join(table.names) for table in (self.trained.classes, self.model.classes))
            raise ValueError(f"The checkpoint has the classes {own}, but the data has {other}: they must be the same.")
        self.model.use_model(self.trained.model)

    before_validate = before_test = _use_trained_model

    def _differences(self, config: Any) -> list[str]:
        """How the config differs from that of the run whose checkpoint goes on."""
        saved = Path(config.ckpt_path).absolute().parent.parent / "config.yaml"
        if not saved.is_file():
            return []
        now = self._parser(self.subcommand).dump(config, skip_none=False)
        try:
            then = read_yaml(saved)
        except ValueError as error:
            raise ValueError(f"The config {saved} of the run cannot be read: {error}.") from error
        if not isinstance(then, dict):
            raise ValueError(f"The config {saved} of the run must be a YAML mapping.")
        return config_differences(then, yaml.safe_load(now))

    @rank_zero_only
    def _record_start(self) -> None:
        if self.trainer.logger is not None:  # else the run keeps nothing
            record_start(self.folder, self.command, seed=self.config.fit.get("seed_everything"))

    def before_fit(self) -> None:
        """Keep where the run comes from; say which weights were loaded, which are new, and what is not as it was."""
        self._record_start()
        if self.differences:
            rank_zero_info("the config is not that of the run:\n  " + "\n  ".join(self.differences))
        if self.config.fit.get("ckpt_path"):
            rank_zero_info(f"all weights: {self.config.fit.ckpt_path}")
        elif self.model.initialized:
            rank_zero_info("\n".join(self.model.initialized))
        else:
            weights = self.config.fit.model.encoder.weights or "random"
            rank_zero_info(f"encoder weights: {weights}; attention and head weights: random")
        if idle := self.model.model.idle_attention:
            head, levels = type(self.model.model.head).__name__, ", ".join(map(str, idle))
            rank_zero_info(f"warning: {head} does not read level {levels}: attention at that level has no effect")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with the loggers and callbacks of a run unless the config names its own loggers."""
        trainer = self.config_init[self.subcommand].trainer
        if trainer.logger is None or trainer.logger is True:
            place: dict[str, Any] = {"name": self.folder.parent.name, "version": self.folder.name}
            save_dir = self.folder.parent.parent
            keep_old_metrics(self.folder)
            kwargs["logger"] = [CSVLogger(save_dir, **place), TensorBoardLogger(save_dir, **place)]
        given = trainer.plugins if isinstance(trainer.plugins, list) else [trainer.plugins] if trainer.plugins else []
        kwargs["plugins"] = [*given, AtomicCheckpointIO()]
        try:
            return super().instantiate_trainer(**kwargs)
        except TypeError as error:  # of devices
            raise ValueError(f"The trainer cannot be made: {one_line(error)}.") from error

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        own: list[Callback] = [OverlayImages(), ValidateAtEnd()]
        if config.get("enable_progress_bar") is not False:
            own.append(ProgressBar())
        if config.pop("enable_model_summary", None) is not False:
            own.append(ModelTable(self.datamodule.crop_size))
        config["enable_model_summary"] = False  # Lightning's
        own.append(ScoreTable())  # after the progress bar, which ends before it
        if config.get("logger") is not False:
            own.append(LearningRateMonitor(logging_interval="step"))
        if config.get("enable_checkpointing") is False:
            return super()._instantiate_trainer(config, own)
        best: ModelCheckpoint = self.config_init[self.subcommand].checkpoint
        own.append(RecordObjects(self._record_folder(), self._record_keys()))
        if best.dirpath is None:  # set here, so that the saved config does not send the next run to this folder
            given = self.config_init[self.subcommand].get("ckpt_path")
            evaluated = given is not None and self.subcommand != "fit"
            best.dirpath = str((Path(given).parent if evaluated else self.folder / "checkpoints").absolute())
        # `last` comes after the best one, so that it knows the best score.
        last = ModelCheckpoint(best.dirpath, filename="last", enable_version_counter=False)
        return super()._instantiate_trainer(config, [*own, OrderlyStop(Path(best.dirpath)), *callbacks, last])

    def _record_folder(self) -> Path:
        """The run of the checkpoint that is evaluated, or this one."""
        given = self.config_init[self.subcommand].get("ckpt_path")
        folder = Path(given).parent if given else self.folder
        return folder.parent if folder.name == "checkpoints" else folder

    def _record_keys(self) -> dict[str, str]:
        """What tells one object record from another."""
        folder = self._record_folder()
        data = type(self.datamodule).__name__.removesuffix("DataModule")
        checkpoint = Path(self.config_init[self.subcommand].get("ckpt_path") or "").name
        return {"run": folder.parent.name, "run_version": folder.name, "data": data, "checkpoint": checkpoint}

    def fit(self, model: LightningModule, **kwargs: Any) -> None:
        """Train."""
        with in_one_sentence(self.trainer):
            self.trainer.fit(model, **kwargs)

    def validate(self, model: LightningModule, **kwargs: Any) -> None:
        """Score the validation images; the table is printed by :class:`segattn.training.callbacks.ScoreTable`."""
        with in_one_sentence(self.trainer):
            self.trainer.validate(model, **kwargs | {"verbose": False})

    def test(self, model: LightningModule, **kwargs: Any) -> None:
        """Score the test images; the table is printed by :class:`segattn.training.callbacks.ScoreTable`."""
        with in_one_sentence(self.trainer):
            self.trainer.test(model, **kwargs | {"verbose": False})
