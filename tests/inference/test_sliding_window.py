import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segattn.inference.sliding_window import Area, blend_windows, window_starts, window_weights
from tests.oracles import sliding_window as oracle


def random_logits(shape):
    """Logits that depend on the position of the window, as those of a network do."""

    def logits_of(area):
        area = Area(*area)
        generator = torch.Generator().manual_seed(area.top * 1000 + area.left)
        return torch.randn(*shape, area.bottom - area.top, area.right - area.left, generator=generator)

    return logits_of


def assembled(pieces, shape, size):
    whole = torch.full((*shape, *size), torch.nan)
    for area, logits in pieces:
        target = area.of(whole)
        assert target.isnan().all()
        target.copy_(logits)
    return whole


@pytest.mark.parametrize(
    ("length", "window", "stride", "starts"),
    [(10, 4, 4, [0, 4, 6]), (10, 10, 3, [0]), (3, 10, 5, [0]), (12, 4, 4, [0, 4, 8]), (11, 4, 3, [0, 3, 6, 7])],
)
def test_windows_cover_everything(length, window, stride, starts):
    assert window_starts(length, window, stride) == starts


def test_weights_fall_linearly_over_the_overlap():
    weights = window_weights(8, 5, 3)
    torch.testing.assert_close(weights[0], torch.tensor([1, 1, 1, 2 / 3, 1 / 3]))
    torch.testing.assert_close(weights[1], torch.tensor([1 / 3, 2 / 3, 1, 1, 1]))


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    window=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    share=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)),
    shape=st.sampled_from([(), (3,), (2, 3)]),
)
def test_blending_is_the_weighted_mean_in_any_order(size, window, share, shape):
    stride = tuple(max(1, int(w * s)) for w, s in zip(window, share, strict=True))
    logits_of = random_logits(shape)
    blended = assembled(blend_windows(logits_of, size, window, stride), shape, size)
    expected = oracle.blended(logits_of, size, window, stride)
    torch.testing.assert_close(blended, expected.float(), rtol=1e-5, atol=1e-5)


def test_without_overlap_the_logits_are_unchanged():
    logits_of = random_logits((2,))
    (piece,) = blend_windows(logits_of, (5, 6), (9, 9), (4, 4))
    assert piece[0] == Area(0, 0, 5, 6)
    assert torch.equal(piece[1], logits_of((0, 0, 5, 6)))
    for area, logits in blend_windows(logits_of, (6, 8), (3, 4), (3, 4)):
        assert torch.equal(logits, logits_of(area))
