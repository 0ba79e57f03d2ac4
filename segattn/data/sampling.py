"""In which order, and on which process, samples are drawn.

Every order is a pure function of the seed and the epoch, never of a process's or worker's own random state, so that a
run that was stopped goes on where it was, and another number of workers changes nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from segattn.sample import Sample


class TrainingSampler(DistributedSampler[int]):
    """A new permutation in every epoch, of which each process takes every n-th index.

    It yields keys ``epoch * len(dataset) + index``: the epoch has to reach the loading workers, which outlive epochs,
    because the augmentation of a sample depends on it.

    Lightning replaces samplers by its own under several processes unless they are a ``DistributedSampler``.

    Args:
        dataset: what is drawn from.
        seed: of the permutations.
        num_replicas: number of processes.
        rank: which one this is.
        start: asked when the first epoch begins, where that is: (epoch, samples of this process already used in it).
            A resumed run knows it only then, since Lightning makes the loader before it reads the checkpoint.
    """

    def __init__(
        self,
        dataset: Dataset[Sample],
        *,
        seed: int,
        num_replicas: int = 1,
        rank: int = 0,
        start: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(dataset, num_replicas, rank, seed=seed, drop_last=True)
        self._find_start = start
        self._start: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[int]:
        if self._start is None:
            self._start = self._find_start() if self._find_start else (self.epoch, 0)
            self.set_epoch(self._start[0])
        size = len(self.dataset)  # type: ignore[arg-type]
        order = np.random.default_rng([self.seed, self.epoch]).permutation(size)
        own = order[self.rank : self.total_size : self.num_replicas]
        used = self._start[1] if self.epoch == self._start[0] else 0
        return iter((self.epoch * size + own[used:]).tolist())


class EvaluationSampler(DistributedSampler[int]):
    """Every image once, in order, over all processes together: process r takes the indices r, r + n, r + 2n, ...

    Raises:
        ValueError: if there are fewer images than processes, since one that has none would never reach the others.
    """

    def __init__(self, dataset: Dataset[Sample], *, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self.total_size = len(dataset)  # type: ignore[arg-type]
        if self.total_size < num_replicas:
            raise ValueError(
                f"{self.total_size} images cannot be evaluated by {num_replicas} processes; use at most as many "
                "processes as images."
            )
        self.num_samples = len(range(rank, self.total_size, num_replicas))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.total_size, self.num_replicas))


class TrainingLoader(DataLoader[Sample]):
    """A loader that tells Lightning that it can go on in mid-epoch (its sampler knows from where).

    Its state is what the place in an epoch depends on.
    """

    def state_dict(self) -> dict[str, Any]:
        """The number of batches that make an epoch of one process."""
        return {"batches_per_epoch": len(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Say so where the place in the epoch means something else than when the checkpoint was written."""
        if state_dict != self.state_dict():
            rank_zero_warn(
                f"The checkpoint was written in an epoch of {state_dict.get('batches_per_epoch')} batches and goes on "
                f"in one of {len(self)}; some images of this epoch are drawn twice or not at all."
            )
