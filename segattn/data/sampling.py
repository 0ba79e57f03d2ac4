"""The order of samples, and their distribution over processes.

Every order is a pure function of seed and epoch, not of the random state of a process or worker. So a run can be
resumed exactly, and the number of workers changes nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from segattn.sample import Sample


class TrainingSampler(DistributedSampler[int]):
    """A new permutation in every epoch; process r of n takes the entries r, r + n, r + 2n, ...

    It yields keys ``epoch * len(dataset) + index``, because the augmentation of a sample depends on the epoch and the
    workers live longer than an epoch. It is a ``DistributedSampler`` so that Lightning does not replace it.

    At the start of an epoch, ``used`` returns how many of its samples this process had used before an interruption.
    """

    def __init__(
        self,
        dataset: Dataset[Sample],
        *,
        seed: int,
        num_replicas: int = 1,
        rank: int = 0,
        used: Callable[[], int] = int,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, seed=seed, drop_last=True)
        self.used = used

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)  # type: ignore[arg-type]  # torch's Dataset declares no length
        order = np.random.default_rng([self.seed, self.epoch]).permutation(size)
        own = order[self.rank : self.total_size : self.num_replicas]
        return iter((self.epoch * size + own[self.used() :]).tolist())


class EvaluationSampler(DistributedSampler[int]):
    """Every image exactly once, in order; process r of n takes the indices r, r + n, r + 2n, ..."""

    def __init__(self, dataset: Dataset[Sample], *, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self.total_size = len(dataset)  # type: ignore[arg-type]  # torch's Dataset declares no length
        if self.total_size < num_replicas:
            raise ValueError(
                f"{self.total_size} images cannot be evaluated by {num_replicas} processes; use at most one process "
                "per image."
            )
        self.num_samples = len(range(rank, self.total_size, num_replicas))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.total_size, self.num_replicas))


class TrainingLoader(DataLoader[Sample]):
    """A loader that Lightning can resume in the middle of an epoch (the sampler knows the position).

    Iteration starts when the first batch is requested. Lightning calls ``iter`` before it has restored the position
    from the checkpoint, so workers that start there would start at the wrong position.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator
        yield from super().__iter__()

    def state_dict(self) -> dict[str, Any]:
        """The number of batches per epoch and process."""
        return {"batches_per_epoch": len(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Warn if the length of an epoch has changed since the checkpoint was written."""
        if state_dict != self.state_dict():
            rank_zero_warn(
                f"An epoch has {len(self)} batches, but {state_dict.get('batches_per_epoch')} when the checkpoint was "
                "written; in this epoch, some images are drawn twice or not at all."
            )
