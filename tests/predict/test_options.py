import pytest
from jaxtyping import TypeCheckError

from segattn.inference import InferenceConfig
from segattn.predict import Options, Settings
from segattn.sample import SizeRule

RULE = SizeRule(512, 2048)
CONFIG = InferenceConfig(RULE, window=(60, 80), stride=(40, 50))


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
    ("options", "config"),
    [
        ({}, CONFIG),
        ({"whole": True}, InferenceConfig(RULE)),
        ({"window": (9, 12)}, InferenceConfig(RULE, window=(9, 12))),
        ({"window": (9, 12), "stride": (9, 1)}, InferenceConfig(RULE, window=(9, 12), stride=(9, 1))),
        ({"stride": (10, 10)}, InferenceConfig(RULE, window=(60, 80), stride=(10, 10))),
        ({"short_side": 300}, InferenceConfig(SizeRule(300, 2048), window=(60, 80), stride=(40, 50))),
        ({"original_size": True, "whole": True, "flip": True}, InferenceConfig(flip=True)),
    ],
)
def test_options_override_the_config_of_the_checkpoint(options, config):
    assert Options(**options).applied_to(CONFIG) == config


def test_a_stride_without_a_window_raises():
    with pytest.raises(ValueError, match="no effect without a window"):
        Options(stride=(2, 2)).applied_to(InferenceConfig())
    with pytest.raises(ValueError, match="would leave gaps"):
        Options(window=(2, 2), stride=(3, 3)).applied_to(InferenceConfig())
