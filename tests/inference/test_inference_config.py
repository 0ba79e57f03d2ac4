import json
from dataclasses import asdict

import pytest

from segattn.inference import InferenceConfig
from segattn.sample import SizeRule


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": (0, 4)}, "must be positive"),
        ({"stride": (4, 4)}, "no effect without a window"),
        ({"window": (4, 4), "stride": (4, 5)}, "would leave gaps"),
        ({"whole_image_weight": 0.5}, "no effect without a window"),
        ({"window": (4, 4), "whole_image_weight": 1.0}, "less than 1"),
        ({"scales": ()}, "scales must be positive"),
        ({"scales": (1.0, 0.0)}, "scales must be positive"),
        ({"precision": "bf16-mixed"}, "precision must be 32 or bf16, got 'bf16-mixed'"),
    ],
)
def test_invalid_configs_raise(values, message):
    with pytest.raises(ValueError, match=message):
        InferenceConfig(**values)


def test_the_default_stride_is_two_thirds_of_the_window():
    assert InferenceConfig().window_stride is None
    assert InferenceConfig(window=(9, 1)).window_stride == (6, 1)
    assert InferenceConfig(window=(9, 12), stride=(9, 1)).window_stride == (9, 1)


def test_round_trip_through_plain_data():
    config = InferenceConfig(SizeRule(64, 99), window=(32, 48), whole_image_weight=0.25, scales=(0.5, 1.0), flip=True)
    assert InferenceConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_unknown_keys_raise():
    with pytest.raises(ValueError, match="unknown keys in an inference config: windows"):
        InferenceConfig.from_dict({"windows": [4, 4]})


@pytest.mark.parametrize(
    ("config", "description"),
    [
        (InferenceConfig(), "scale 1, no flip"),
        (InferenceConfig(scales=(0.5, 1.0), flip=True), "scales 0.5, 1, flip"),
        (InferenceConfig(SizeRule(520, 520)), "short side 520, long side at most 520, scale 1, no flip"),
        (
            InferenceConfig(SizeRule(512), window=(512, 640), whole_image_weight=0.3, precision="bf16"),
            "short side 512, scale 1, no flip, windows of 512x640, "
            "blended with the image in one pass (weight 0.3), bf16",
        ),
    ],
)
def test_the_description_names_every_choice(config, description):
    assert config.description == description
