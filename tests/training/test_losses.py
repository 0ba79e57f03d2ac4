import pytest
import torch
from torch import nn

from segattn.sample import IGNORE_INDEX
from segattn.training.losses import OHEM, CrossEntropy, Dice, Lovasz, ObjectBalancedCrossEntropy, WeightedSum, for_mask
from tests.oracles import losses as oracle

EVERY_LOSS = [
    CrossEntropy(),
    ObjectBalancedCrossEntropy(min_area=2),
    OHEM(min_kept=3),
    Dice(),
    Lovasz(),
    WeightedSum([CrossEntropy(), Dice()], [1.0, 0.5]),
]


def random_case(seed, *, classes=4, batch=3, height=5, width=7):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, height, width, generator=generator)
    mask = torch.randint(classes, (batch, height, width), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) < 0.3] = IGNORE_INDEX
    return logits, mask


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 0.0, 3.0]])
def test_cross_entropy_equals_the_oracle(seed, weights):
    logits, mask = random_case(seed)
    expected = oracle.cross_entropy(logits, mask, weights or [1.0] * 4, IGNORE_INDEX)
    assert CrossEntropy(weights)(logits, mask).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("threshold", "min_kept"), [(0.3, 2), (0.7, 1), (0.01, 20), (0.9, 100_000)])
def test_ohem_equals_the_oracle(seed, threshold, min_kept):
    logits, mask = random_case(seed)
    weights = [1.0, 2.0, 0.5, 1.0]
    expected = oracle.ohem(logits, mask, weights, IGNORE_INDEX, threshold=threshold, min_kept=min_kept)
    loss = OHEM(threshold, min_kept, class_weights=weights)(logits, mask)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize(("exponent", "min_area"), [(0.25, 1), (0.25, 4), (1.0, 2), (0.0, 1)])
def test_object_balanced_cross_entropy_equals_the_oracle(seed, classes, exponent, min_area):
    logits, mask = random_case(seed, classes=classes)
    mask[1] = IGNORE_INDEX
    expected = oracle.object_balanced_cross_entropy(logits, mask, IGNORE_INDEX, exponent=exponent, min_area=min_area)
    value = ObjectBalancedCrossEntropy(exponent, min_area)(logits, mask).item()
    assert value == pytest.approx(expected, rel=1e-5)
    if exponent == 0:
        assert value == pytest.approx(CrossEntropy()(logits, mask).item(), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [1, 4, 9])
def test_dice_equals_the_oracle(seed, classes):
    logits, mask = random_case(seed, classes=min(classes, 4))
    logits = torch.cat([logits, torch.randn(*logits.shape)], dim=1)[:, :classes]  # the last classes are absent
    expected = oracle.dice(logits, mask, IGNORE_INDEX)
    assert Dice()(logits, mask).item() == pytest.approx(expected, rel=1e-4)


def test_pixel_weights_of_objects():
    mask = torch.full((2, 260, 260), IGNORE_INDEX)
    mask[0, :256, :256] = 254  # 65,536 pixels
    mask[1, :4, :4] = 0  # two objects of a class, and one that touches only an object of another class
    mask[1, 10, 10] = 0
    mask[1, 4, 4] = 1
    weights = ObjectBalancedCrossEntropy().pixel_weights(mask)
    assert weights[0].unique().tolist() == [0, 1 / 16]
    assert (weights[1] == 0.5).sum() == 18
    assert weights[1].unique().tolist() == [0, 0.5]


@pytest.mark.parametrize("weighted", [False, True])
def test_objects_are_found_once_for_all_outputs(monkeypatch, weighted):
    balanced = ObjectBalancedCrossEntropy()
    calls, find = [], balanced.pixel_weights
    monkeypatch.setattr(balanced, "pixel_weights", lambda mask: calls.append(1) or find(mask))
    loss = WeightedSum([balanced, Dice()], [1.0, 0.5]) if weighted else balanced
    logits, mask = random_case(3)
    loss_of = for_mask(loss, mask)
    values = [loss_of(factor * logits) for factor in (1, 2, 3)]
    assert len(calls) == 1
    torch.testing.assert_close(values, [loss(factor * logits, mask) for factor in (1, 2, 3)], rtol=0, atol=0)


def test_label_smoothing_matches_torch():
    logits, mask = random_case(0)
    expected = nn.functional.cross_entropy(logits, mask, ignore_index=IGNORE_INDEX, label_smoothing=0.1)
    torch.testing.assert_close(CrossEntropy(label_smoothing=0.1)(logits, mask), expected)


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=lambda loss: type(loss).__name__)
def test_loss_is_zero_if_all_pixels_are_ignored(loss):
    logits = torch.randn(2, 4, 5, 7, requires_grad=True)
    value = loss(logits, torch.full((2, 5, 7), IGNORE_INDEX))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=lambda loss: type(loss).__name__)
def test_ignored_pixels_have_no_effect_and_a_perfect_prediction_has_low_loss(loss):
    logits, mask = random_case(1)
    before = loss(logits, mask)
    ignored = (mask == IGNORE_INDEX).unsqueeze(1)
    torch.testing.assert_close(loss(torch.where(ignored, 100 * torch.randn_like(logits), logits), mask), before)
    perfect = 30 * nn.functional.one_hot(torch.where(mask == IGNORE_INDEX, 0, mask), 4).permute(0, 3, 1, 2).float()
    assert loss(perfect, mask) < 1e-3 < before


def test_weighted_sum():
    logits, mask = random_case(2)
    both = WeightedSum([CrossEntropy(), Lovasz()], [0.3, 2.0])(logits, mask)
    torch.testing.assert_close(both, 0.3 * CrossEntropy()(logits, mask) + 2 * Lovasz()(logits, mask))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: CrossEntropy(label_smoothing=2.0), "0..1"),
        (lambda: CrossEntropy([-1.0, 1.0]), "must not be negative"),
        (lambda: CrossEntropy([]), "must not be negative"),
        (lambda: OHEM(threshold=0.0), "threshold"),
        (lambda: OHEM(min_kept=0), "min_kept"),
        (lambda: ObjectBalancedCrossEntropy(exponent=1.5), "exponent in 0..1"),
        (lambda: ObjectBalancedCrossEntropy(min_area=0), "min_area >= 1"),
        (lambda: WeightedSum([Dice()], [1.0, 2.0]), "one weight per loss"),
        (lambda: CrossEntropy([1.0, 1.0])(*random_case(0)), "2 values, but there are 4 classes"),
    ],
)
def test_invalid_arguments_are_errors(make, what):
    with pytest.raises(ValueError, match=what):
        make()
