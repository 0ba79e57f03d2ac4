import math

import pytest
import torch

from segattn.training.schedule import PolynomialSchedule


def test_rates_follow_the_formula():
    schedule = PolynomialSchedule(power=0.9, floor=1e-4, warmup_steps=0)
    assert schedule.rate(0, total_steps=100, lr=0.01) == pytest.approx(0.01)
    assert schedule.rate(50, total_steps=100, lr=0.01) == pytest.approx(1e-4 + (0.01 - 1e-4) * 0.5**0.9)
    assert schedule.rate(100, total_steps=100, lr=0.01) == pytest.approx(1e-4)
    assert schedule.rate(500, total_steps=100, lr=0.01) == pytest.approx(1e-4)


def test_warm_up_grows_to_the_decaying_rate():
    schedule = PolynomialSchedule(power=0.0, floor=0.0, warmup_steps=4)
    rates = [schedule.rate(step, total_steps=10, lr=1.0) for step in range(6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_every_group_decays_from_its_own_rate_to_the_same_floor():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 1.0, 1e-5)]
    optimizer = torch.optim.SGD(groups)
    scheduler = PolynomialSchedule(power=1.0, floor=0.01).scheduler(optimizer, total_steps=2)
    for expected in ([0.1, 1.0, 1e-5], [0.055, 0.505, 1e-5], [0.01, 0.01, 1e-5]):
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(expected)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(("name", "value"), [("power", -1.0), ("floor", -1.0), ("warmup_steps", -1)])
def test_negative_values_are_errors(name, value):
    with pytest.raises(ValueError, match="must not be negative"):
        PolynomialSchedule(**{name: value})


def test_a_rate_of_0_and_a_decay_without_an_end_are_errors():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.0)
    with pytest.raises(ValueError, match="learning rate must be positive, got 0"):
        PolynomialSchedule().scheduler(optimizer, total_steps=2)
    optimizer.param_groups[0]["lr"] = 0.1
    with pytest.raises(ValueError, match=r"set trainer\.max_epochs or trainer\.max_steps, or model\.schedule\.power 0"):
        PolynomialSchedule().scheduler(optimizer, total_steps=math.inf)
    PolynomialSchedule(power=0.0).scheduler(optimizer, total_steps=math.inf)
    assert optimizer.param_groups[0]["lr"] == 0.1
