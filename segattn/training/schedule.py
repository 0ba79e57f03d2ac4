"""The learning rate schedule of the published recipes: polynomial decay, stepped every iteration."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class PolynomialSchedule:
    """Linear warm-up, then ``floor + (lr - floor) * (1 - step / steps) ** power``.

    Attributes:
        power: exponent of the decay; 0 keeps the rate constant.
        floor: final learning rate, the same for all parameter groups.
        warmup_steps: steps of linear growth of the learning rate before the decay.

    Raises:
        ValueError: if a value is negative, a learning rate is not positive, or a rate that decays has no end.
    """

    power: float = 0.9
    floor: float = 1e-4
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        """Validate the arguments."""
        if min(self.power, self.floor, self.warmup_steps) < 0:
            raise ValueError(f"power, floor and warmup_steps must not be negative, got {self}.")

    def rate(self, step: int, *, total_steps: int | float, lr: float) -> float:
        """The learning rate before optimizer step ``step`` (from 0) of ``total_steps``."""
        decay: float = max(0.0, 1 - step / max(1, total_steps)) ** self.power
        warmup = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return warmup * (min(self.floor, lr) + (lr - min(self.floor, lr)) * decay)

    def scheduler(self, optimizer: Optimizer, total_steps: int | float) -> LambdaLR:
        """A torch scheduler over all parameter groups, each starting from its own learning rate."""
        rates = [group["lr"] for group in optimizer.param_groups]
        if min(rates) <= 0:
            raise ValueError(f"The learning rate must be positive, got {min(rates)}.")
        if total_steps == math.inf and self.power:
            raise ValueError(
                "The learning rate decays to the end of the training: set trainer.max_epochs or trainer.max_steps, or "
                "model.schedule.power 0."
            )

        def factor(lr: float) -> Callable[[int], float]:
            return lambda step: self.rate(step, total_steps=total_steps, lr=lr) / lr

        return LambdaLR(optimizer, [factor(rate) for rate in rates])
