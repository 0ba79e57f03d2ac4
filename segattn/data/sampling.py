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
        used: asked when an epoch begins: how many samples this process has used of it, before it was interrupted.
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
    """Every image once, in order, over all processes together: process r takes the indices r, r + n, r + 2n, ...

    Raises:
        ValueError: if there are fewer images than processes, since one that has none would never reach the others.
    """

    def __init__(self, dataset: Dataset[Sample], *, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self.total_size = len(dataset)  # type: ignore[arg-type]  # likewise
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

    Its state is what the place in an epoch depends on. An iteration starts with its first batch, not before: Lightning
    calls ``iter`` before it reads from the checkpoint where the run stopped, and workers would begin at another place.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator, so that it starts late
        yield from super().__iter__()

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
