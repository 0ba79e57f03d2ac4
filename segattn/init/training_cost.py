"""Batch size that fits the memory of this machine, and time of a training step."""

import os
from dataclasses import dataclass

BATCH_SIZES = (16, 8, 4, 2)


@dataclass(frozen=True)
class TrainingCost:
    """What a step of training costs: images in a batch, bytes of tensors and seconds, on a machine."""

    batch: int
    memory: int
    seconds: float
    machine: str


UNKNOWN_COST = TrainingCost(BATCH_SIZES[-1], 0, 0.0, "")
"""Stands for the cost in a config that is written to measure it."""


def training_cost(command: tuple[str, ...], *, most: int, crop: int, device: str) -> TrainingCost:
    """Choose the largest of :data:`BATCH_SIZES` whose step takes at most half of the memory, and time a step.

    Args:
        command: options of ``segattn fit`` that describe the model.
        most: largest batch size, unless it is below the smallest one.
        crop: height and width of the crops.
        device: ``cpu`` or ``cuda``.
    """
    import torch

    from segattn.benchmark.config_model import config_model
    from segattn.benchmark.estimate import estimate_memory
    from segattn.benchmark.measure import best_seconds, forward_and_step, machine

    limit = (
        torch.cuda.mem_get_info()[1] if device == "cuda" else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )
    for batch in BATCH_SIZES:
        if batch <= most or batch == BATCH_SIZES[-1]:
            model = config_model(command)
            _, memory = estimate_memory(model, (batch, 3, crop, crop), model.optimizer)
            if memory < limit / 2:
                break
    where = torch.device(device)
    shape = (batch, 3, crop, crop)
    _, step = forward_and_step(lambda: config_model(command), shape, device=where, dtype=torch.float32)
    [seconds] = best_seconds([step], device=where, repeats=2)
    return TrainingCost(batch, memory, seconds, machine(where))
