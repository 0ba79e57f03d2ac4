"""Sliding windows over an image, blended where they overlap, in memory that does not depend on the image's height.

The weight of a window falls linearly over the overlap with its neighbors, so that no seam shows where a window ends.
Along each axis the weights of all windows sum to one at every pixel, and the weight of a pixel is the product over both
axes: the result is a weighted mean that does not depend on the order of the windows.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


class Area(NamedTuple):
    """A rectangle of pixels: rows ``top`` to ``bottom - 1``, columns ``left`` to ``right - 1``.

    Examples:
        >>> import torch
        >>> from segattn.inference import Area
        >>> Area(top=0, left=2, bottom=3, right=6).of(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 3, 3, 4])
    """

    top: int
    left: int
    bottom: int
    right: int

    def of(self, image: Tensor) -> Tensor:
        """Return this part (..., rows, columns) of an image (..., h, w), as a view."""
        return image[..., self.top : self.bottom, self.left : self.right]


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where the windows along one axis start: every ``stride`` pixels, the last one aligned with the end."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def window_weights(length: int, window: int, stride: int) -> Float[Tensor, "windows window"]:
    """Weight of every pixel of every window along one axis; at each pixel of the axis they sum to one."""
    window = min(window, length)
    overlap = window - stride
    distance = torch.arange(1, window + 1)
    ramp = torch.minimum(distance, distance.flip(0)).clamp(max=max(overlap, 0) + 1).double()
    starts = window_starts(length, window, stride)
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start : start + window] += ramp
    return torch.stack([ramp / total[start : start + window] for start in starts]).float()


def blend_windows(
    logits_of: Callable[[Area], Tensor], size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[Area, Tensor]]:
    """Compute all windows and yield the blended logits part by part, each pixel once.

    Besides the current window, only weighted sums that later windows add to are kept: the overlap with the next row of
    windows (over the full width of the image), and the overlap with the next window.

    Args:
        logits_of: computes the logits (..., h, w) of one window.
        size: (height, width) of the image.
        window: (height, width) of the windows, at most those of the image.
        stride: vertical and horizontal distance between the starts of windows.

    Yields:
        An area and its logits (..., h, w); the areas tile the image, row by row.
    """
    (height, width), (window_h, window_w) = size, (min(w, s) for w, s in zip(window, size, strict=True))
    tops, lefts = window_starts(height, window_h, stride[0]), window_starts(width, window_w, stride[1])
    row_weights, column_weights = (
        window_weights(s, w, t) for s, w, t in zip(size, (window_h, window_w), stride, strict=True)
    )
    # Rows that a row of windows shares with the next one.
    shared = max((top + window_h - following for top, following in pairwise(tops)), default=0)
    # Weighted sums over the rows shared with the row of windows above, and with the one below.
    above = below = torch.empty(0)
    ends = [top + window_h for top in tops]
    for top, next_top, end_above, weights_h in zip(tops, [*tops[1:], height], [0, *ends], row_weights, strict=False):
        before: Tensor | None = None  # weighted sum over the overlap with the previous window
        for left, next_left, weights_w in zip(lefts, [*lefts[1:], width], column_weights, strict=True):
            logits = logits_of(Area(top, left, top + window_h, left + window_w)).float()
            if not below.numel():
                above, below = (logits.new_zeros(*logits.shape[:-2], shared, width) for _ in range(2))
            blended = logits * (rearrange(weights_h, "h -> h 1") * weights_w).to(logits.device)
            if before is not None:
                blended[..., : before.shape[-1]] += before
            before = blended[..., next_left - left :].clone()
            finished = blended[..., : next_left - left]
            if top:
                finished[..., : end_above - top, :] += above[..., : end_above - top, left:next_left]
            below[..., : window_h - (next_top - top), left:next_left] = finished[..., next_top - top :, :]
            yield Area(top, left, next_top, next_left), finished[..., : next_top - top, :]
        above, below = below, above
