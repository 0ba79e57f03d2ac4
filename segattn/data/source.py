"""A data set as a config describes it: where it lies, how its parts are opened, what training does to its images.

No torch, no Lightning: ``segattn check`` needs nothing more. The data modules add the loaders.
"""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_args, get_type_hints

from segattn.data.augmentation import Augmentation
from segattn.data.dataset import SegmentationDataset
from segattn.sample import ClassTable, SizeRule

_MAX_DEFAULT_WORKERS = 8
_ORIGINAL_SIZE = SizeRule()


class SegmentationSource(ABC):
    """What every data set has in common.

    Args:
        root: the folder of the data set.
        classes: its classes.
        batch_size: training images a step and process. An epoch drops the images that fill no whole batch.
        val_batch_size: images a step and process in validation and test; more than one needs images of one size.
        num_workers: loading processes of each training process; None takes the cores that it has, at most 8.
        crop_size: (height, width) of training crops.
        size_rule: the size of whole images in evaluation, and the size at scale 1 in training.
        scale_range: smallest and largest random scale in training.
        max_class_share: the largest share of a training crop that one class may cover, if ten tries find one.
        flip: probability of a horizontal flip in training.
        photometric: whether training changes brightness, contrast, saturation and hue.
        seed: of the order and the augmentation: equal seeds give equal batches.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        root: str,
        classes: ClassTable,
        *,
        crop_size: tuple[int, int],
        batch_size: int = 8,
        val_batch_size: int = 1,
        num_workers: int | None = None,
        size_rule: SizeRule = _ORIGINAL_SIZE,
        scale_range: tuple[float, float] = (0.5, 2.0),
        max_class_share: float = 0.75,
        flip: float = 0.5,
        photometric: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("val_batch_size", val_batch_size, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        self.root = Path(root)
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.augmentation = Augmentation(crop_size, size_rule, scale_range, max_class_share, flip, photometric)
        self.datasets: dict[str, SegmentationDataset] = {}
        """Those that :meth:`setup` opened, by split."""
        self._classes = classes

    @abstractmethod
    def dataset(self, split: str) -> SegmentationDataset:
        """Open one part of the data set.

        Raises:
            DataNotFoundError: if it is not there.
            DataError: if an image has no mask.
        """

    def prepare_data(self) -> None:  # noqa: B027  # most data sets are there already
        """Make the files, where the data set does so; on one process of each machine."""

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of training crops."""
        return self.augmentation.crop_size

    def setup(self, stage: str) -> None:
        """Open what a stage needs, so that missing data is found before anything starts.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``, which needs nothing.
        """
        stages: dict[str, tuple[str, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
        for split in stages.get(stage, ()):
            self.datasets[split] = self.dataset(split)

    @property
    def classes(self) -> ClassTable:
        """The classes of the data set."""
        return self._classes

    @property
    def num_classes(self) -> int:
        """How many classes the data set has."""
        return len(self._classes)

    @property
    def size_rule(self) -> SizeRule:
        """The size of whole images in evaluation."""
        return self.augmentation.size_rule

    def loading_workers(self, processes: int = 1) -> int:
        """Loading processes of each of several training processes on this machine."""
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, min(cores // processes, _MAX_DEFAULT_WORKERS))


def require_sound_data(config: Any) -> None:
    """Refuse what the argument parser lets pass in the parsed config of a source or data module.

    Raises:
        ValueError: if an argument is null that must not be, or the size rule is no mapping.
    """
    given = config.get("init_args", {}) if config else {}
    for name, value in given.items():
        if value is None and not _may_be_none(resolve_name(config.class_path), name):
            raise ValueError(f"data.{name} must not be null.")


def _may_be_none(source: type, name: str) -> bool:
    """Whether an argument of a class may be None, by the first constructor that names it."""
    hints = (get_type_hints(vars(base)["__init__"]) for base in source.__mro__ if "__init__" in vars(base))
    hint = next((found[name] for found in hints if name in found), Any)
    return hint is Any or type(None) in get_args(hint)
