"""Checks of constructor arguments that every attention block shares: one sentence saying what is allowed."""

from collections.abc import Sequence


def require_positive(**values: int) -> None:
    """Refuse counts below one.

    Args:
        **values: the arguments by name.

    Raises:
        ValueError: if one of them is not a positive integer.
    """
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}.")


def require_choice(allowed: Sequence[str], **values: str) -> None:
    """Refuse names that are not in a list.

    Args:
        allowed: the names.
        **values: the arguments by name.

    Raises:
        ValueError: if one of them is none of the allowed names.
    """
    for name, value in values.items():
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def require_odd(**values: int) -> None:
    """Refuse kernel sizes that would shift the map.

    Args:
        **values: the arguments by name.

    Raises:
        ValueError: if one of them is not a positive odd integer.
    """
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or value % 2 == 0:
            raise ValueError(f"{name} must be a positive odd integer, got {value!r}.")


def require_odd_sizes(**values: Sequence[int]) -> None:
    """Refuse what is no sequence of kernel sizes.

    Args:
        **values: the arguments by name.

    Raises:
        ValueError: if one of them is neither a list nor a tuple, or holds something else than positive odd integers.
    """
    for name, sizes in values.items():
        if not isinstance(sizes, list | tuple):
            raise ValueError(f"{name} must be a list of positive odd integers, got {sizes!r}.")
        for size in sizes:
            require_odd(**{name: size})


def require_dropout(dropout: float) -> None:
    """Refuse what is no probability below one.

    Raises:
        ValueError: saying what it must be.
    """
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout!r}.")


def require_divisible(channels: int, **divisors: int) -> None:
    """Refuse channel counts that cannot be split evenly.

    Args:
        channels: number of channels, at least 1.
        **divisors: by name, what must divide it; each at least 1.

    Raises:
        ValueError: if one of the arguments is not positive or does not divide the channels.
    """
    require_positive(channels=channels, **divisors)
    for name, divisor in divisors.items():
        if channels % divisor:
            raise ValueError(f"channels must be divisible by {name}, got {channels} channels and {name} {divisor}.")


def require_reduction(channels: int, *, reduction: int) -> int:
    """The width channels // reduction of a bottleneck.

    Args:
        channels: number of channels, at least 1.
        reduction: how many times narrower the bottleneck is, 1 to channels.

    Returns:
        The width, at least 1.

    Raises:
        ValueError: if nothing would be left.
    """
    require_positive(channels=channels, reduction=reduction)
    if reduction > channels:
        raise ValueError(f"reduction must be at most the number of channels ({channels}), got {reduction}.")
    return channels // reduction
