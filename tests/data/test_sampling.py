import pytest
from torch.utils.data import Dataset

from segattn.data.sampling import EvaluationSampler, TrainingLoader, TrainingSampler


class Numbers(Dataset[int]):
    """Each sample is its index."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        return index


def epoch(sampler: TrainingSampler, number: int) -> list[int]:
    sampler.set_epoch(number)
    return list(sampler)


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_every_training_image_is_drawn_at_most_once_over_all_processes(replicas: int) -> None:
    samplers = [TrainingSampler(Numbers(11), seed=3, num_replicas=replicas, rank=rank) for rank in range(replicas)]
    for number in range(3):
        parts = [epoch(sampler, number) for sampler in samplers]
        assert {len(part) for part in parts} == {11 // replicas} == {len(sampler) for sampler in samplers}
        drawn = sorted(key for part in parts for key in part)
        assert len(set(drawn)) == len(drawn)
        assert all(number * 11 <= key < (number + 1) * 11 for key in drawn)


def test_the_order_depends_only_on_epoch_and_seed() -> None:
    orders = {
        (seed, number): [key % 50 for key in epoch(TrainingSampler(Numbers(50), seed=seed), number)]
        for seed in (0, 1)
        for number in (0, 1)
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    sampler = TrainingSampler(Numbers(50), seed=1)
    epoch(sampler, 7)
    assert [key % 50 for key in epoch(sampler, 1)] == orders[1, 1]


def test_an_interrupted_epoch_is_resumed_and_the_next_one_is_complete() -> None:
    uninterrupted = TrainingSampler(Numbers(10), seed=0)
    used = iter([4, 0])
    resumed = TrainingSampler(Numbers(10), seed=0, used=lambda: next(used))
    assert epoch(resumed, 2) == epoch(uninterrupted, 2)[4:]
    assert epoch(resumed, 3) == epoch(uninterrupted, 3)


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 7, 12])
def test_every_image_is_evaluated_exactly_once(size: int, replicas: int) -> None:
    samplers = [EvaluationSampler(Numbers(size), num_replicas=replicas, rank=rank) for rank in range(replicas)]
    parts = [list(sampler) for sampler in samplers]
    assert sorted(index for part in parts for index in part) == list(range(size))
    assert [len(sampler) for sampler in samplers] == [len(part) for part in parts]
    assert all(part == sorted(part) for part in parts)


def test_more_processes_than_images_are_rejected() -> None:
    with pytest.raises(ValueError, match="2 images cannot be evaluated by 3 processes"):
        EvaluationSampler(Numbers(2), num_replicas=3, rank=0)


def test_warning_if_the_length_of_an_epoch_has_changed() -> None:
    loader = TrainingLoader(Numbers(10), batch_size=2)
    loader.load_state_dict(TrainingLoader(Numbers(10), batch_size=2).state_dict())
    with pytest.warns(UserWarning, match="An epoch has 5 batches, but 3 when"):
        loader.load_state_dict(TrainingLoader(Numbers(9), batch_size=3).state_dict())
