"""Checks of constructor arguments that several attention blocks share. All raise ValueError."""

from collections.abc import Sequence


def require_choice(allowed: Sequence[str], **values: str) -> None:
    """Validate that each named value is one of the allowed ones."""
    for name, value in values.items():
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def require_positive(**values: int) -> None:
    """Validate that each named number is at least 1."""
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")


def require_odd(name: str, *kernel_sizes: int) -> None:
    """Validate that kernel sizes are positive and odd; an even kernel would change the size of the map."""
    for size in kernel_sizes:
        if size < 1 or size % 2 == 0:
            raise ValueError(f"{name} must be positive and odd, got {size!r}.")


def require_divisible(channels: int, **divisors: int) -> None:
    """Validate that the channels can be split evenly by each named divisor."""
    for name, divisor in divisors.items():
        if divisor < 1 or channels % divisor:
            raise ValueError(f"channels must be divisible by {name}, got {channels} channels and {name} {divisor}.")


def bottleneck_width(channels: int, reduction: int) -> int:
    """The width ``channels // reduction`` of a bottleneck, validated to be at least 1."""
    if not 1 <= reduction <= channels:
        raise ValueError(f"reduction must be between 1 and the number of channels ({channels}), got {reduction}.")
    return channels // reduction
