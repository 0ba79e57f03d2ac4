import pytest
from jaxtyping import TypeCheckError

from segattn.predict import Options, Settings
from segattn.sample import SizeRule

RULE = SizeRule(short_side=512, max_long_side=2048, window=(60, 80), stride=(40, 50))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"overlay": True, "opacity": 1.5}, "between 0 and 1, got 1.5"),
        ({"opacity": 0.5}, "no effect without overlay or panels"),
        ({"probabilities": 0}, "all or at least 1"),
        ({"whole": True, "window": (8, 8)}, "leave out window and stride"),
        ({"original_size": True, "short_side": 8}, "leave out short_side"),
        ({"scales": ()}, "positive factors"),
        ({"scales": (1.0, 0.0)}, "positive factors"),
    ],
)
def test_wrong_options_are_refused(options, what):
    with pytest.raises(ValueError, match=what):
        Options(**options)


@pytest.mark.parametrize("options", [{"ids": "own"}, {"precision": "16"}, {"probabilities": "some"}])
def test_misspelt_choices_are_refused(options):
    with pytest.raises((ValueError, TypeCheckError)):  # the latter from the tests' own type checks
        Options(**options)


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"max_pixels": 0}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        Settings(**settings)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({}, RULE),
        ({"whole": True}, SizeRule(512, 2048)),
        ({"window": (9, 12)}, SizeRule(512, 2048, (9, 12), (6, 8))),
        ({"window": (9, 12), "stride": (9, 1)}, SizeRule(512, 2048, (9, 12), (9, 1))),
        ({"stride": (10, 10)}, SizeRule(512, 2048, (60, 80), (10, 10))),
        ({"short_side": 300}, SizeRule(300, 2048, (60, 80), (40, 50))),
        ({"original_size": True, "whole": True}, SizeRule()),
    ],
)
def test_options_go_before_the_size_rule(options, rule):
    assert Options(**options).applied_to(RULE) == rule


def test_a_stride_without_any_window_is_refused():
    with pytest.raises(ValueError, match="stride needs a window"):
        Options(stride=(2, 2)).applied_to(SizeRule())
    with pytest.raises(ValueError, match="would leave gaps"):
        Options(window=(2, 2), stride=(3, 3)).applied_to(SizeRule())
