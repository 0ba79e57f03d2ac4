"""Sliding windows by definition: the sum of weighted logits over the sum of weights, each for the complete image."""

import torch


def blended(logits_of, size, window, stride):
    (height, width) = size
    total, weight_sum = 0, torch.zeros(height, width, dtype=torch.float64)
    tops, lefts = starts(height, window[0], stride[0]), starts(width, window[1], stride[1])
    for top in reversed(tops):  # the order must not matter
        for left in lefts:
            bottom, right = min(top + window[0], height), min(left + window[1], width)
            logits = logits_of((top, left, bottom, right))
            weights = torch.zeros(height, width, dtype=torch.float64)
            vertical = [slope(y, top, bottom, stride[0]) for y in range(top, bottom)]
            horizontal = [slope(x, left, right, stride[1]) for x in range(left, right)]
            weights[top:bottom, left:right] = torch.outer(torch.tensor(vertical), torch.tensor(horizontal))
            whole = torch.zeros(*logits.shape[:-2], height, width, dtype=torch.float64)
            whole[..., top:bottom, left:right] = logits
            total = total + whole * weights
            weight_sum += weights
    return total / weight_sum


def starts(length, window, stride):
    found = [0]
    while found[-1] + window < length:
        found.append(min(found[-1] + stride, length - window))
    return found


def slope(position, start, end, stride):
    overlap = max(end - start - stride, 0)
    return min(position - start + 1, end - position, overlap + 1)
