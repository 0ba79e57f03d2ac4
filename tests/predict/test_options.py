from dataclasses import replace

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
        ({"overlay": True, "opacity": 1.5}, "must be in 0..1, got 1.5"),
        ({"opacity": 0.5}, "no effect without overlay or panels"),
        ({"probabilities": 0}, "all or at least 1"),
        ({"whole": True, "window": (8, 8)}, "whole and window exclude each other"),
        ({"original_size": True, "short_side": 8}, "original_size and short_side exclude each other"),
    ],
)
def test_invalid_options_raise(options, what):
    with pytest.raises(ValueError, match=what):
        Options(**options)


def test_misspelled_ids_raise():
    with pytest.raises((ValueError, TypeCheckError)):  # the latter from the type checks of the tests
        Options(ids="own")


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"max_pixels": 0}])
def test_invalid_settings_raise(settings):
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
        ({"whole_image_weight": 0.5}, replace(CONFIG, whole_image_weight=0.5)),
        ({"scales": (0.5, 2.0), "precision": "bf16"}, replace(CONFIG, scales=(0.5, 2.0), precision="bf16")),
    ],
)
def test_options_replace_the_config_of_the_checkpoint(options, config):
    assert Options(**options).applied_to(CONFIG) == config


def test_unset_options_keep_the_config_of_the_checkpoint():
    config = InferenceConfig(RULE, (8, 8), (4, 4), 0.25, (0.5, 1.0), True, "bf16")
    assert Options().applied_to(config) == config
    assert Options(flip=False).applied_to(config) == replace(config, flip=False)


def test_options_that_do_not_fit_the_config_raise():
    with pytest.raises(ValueError, match="no effect without a window"):
        Options(stride=(2, 2)).applied_to(InferenceConfig())
    with pytest.raises(ValueError, match="no effect without a window"):
        Options(whole=True, stride=(2, 2)).applied_to(CONFIG)
    with pytest.raises(ValueError, match="would leave gaps"):
        Options(window=(2, 2), stride=(3, 3)).applied_to(InferenceConfig())
