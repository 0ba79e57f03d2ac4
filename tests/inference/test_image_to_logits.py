import numpy as np
import pytest
import torch
from einops import rearrange

from segattn.inference import InferenceConfig, image_to_logits, infer, infer_bands, infer_labels
from segattn.inference.image_to_logits import resized_rows
from segattn.sample import SizeRule
from tests.checkpoints.saved import lively_model
from tests.oracles import inference as oracle

CONFIGS = [
    InferenceConfig(),
    InferenceConfig(flip=True),
    InferenceConfig(window=(16, 20)),
    InferenceConfig(window=(16, 20), stride=(7, 20), whole_image_weight=0.3, flip=True),
    InferenceConfig(SizeRule(20, 30)),
    InferenceConfig(SizeRule(40), window=(24, 24), scales=(0.5, 1.5), flip=True),
    InferenceConfig(scales=(0.75, 1.0, 2.0), flip=True),
]


def model():
    network = lively_model()
    return lambda images: network(images).logits


def random_images(batch=2, height=33, width=46):
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [(2, 33, 46), (1, 1, 1), (1, 3, 20)])
def test_infer_equals_the_definition(config, size):
    logits_of, images = model(), random_images(*size)
    with torch.inference_mode():
        logits = infer(logits_of, images, config)
        expected = oracle.probabilities(logits_of, images.float() / 255, config)
    assert logits.shape == (size[0], 4, *size[1:])
    torch.testing.assert_close(logits.softmax(dim=1).double(), expected, rtol=1e-4, atol=1e-5)


def test_a_single_view_returns_the_logits_of_the_model():
    logits_of, images = model(), random_images()
    with torch.inference_mode():
        torch.testing.assert_close(infer(logits_of, images, InferenceConfig()), logits_of(images.float() / 255))


@pytest.mark.parametrize("config", CONFIGS)
def test_uint8_and_float_images_give_the_same_bits(config):
    logits_of, images = model(), random_images()
    with torch.inference_mode():
        from_bytes = infer(logits_of, images, config)
        assert torch.equal(from_bytes, infer(logits_of, images.float() / 255, config))


@pytest.mark.parametrize("config", CONFIGS)
def test_the_memory_layout_of_the_images_has_no_effect(config):
    """Different strides select different kernels, which round differently."""
    logits_of, images = model(), random_images()
    sliced = torch.zeros(2, 3, 60, 70, dtype=torch.uint8)
    sliced[..., 5:38, 9:55] = images
    with torch.inference_mode():
        expected = infer(logits_of, images, config)
        for same in (images.contiguous(memory_format=torch.channels_last), sliced[..., 5:38, 9:55]):
            assert same.stride() != images.stride()
            assert torch.equal(infer(logits_of, same, config), expected)


@pytest.mark.parametrize("config", CONFIGS)
def test_bands_tile_the_image(config, monkeypatch):
    logits_of, images = model(), random_images()
    with torch.inference_mode():
        complete = infer(logits_of, images, config)
        monkeypatch.setattr(image_to_logits, "BAND_BYTES", 20_000)
        covered = torch.zeros(33, 46)
        for area, logits in infer_bands(logits_of, images, config):
            area.of(covered).add_(1)
            torch.testing.assert_close(logits, area.of(complete), rtol=1e-4, atol=1e-4)
    assert (covered == 1).all()


@pytest.mark.parametrize("config", CONFIGS)
def test_labels_are_the_largest_logits(config, monkeypatch):
    monkeypatch.setattr(image_to_logits, "BAND_BYTES", 20_000)
    logits_of, images = model(), random_images()
    with torch.inference_mode():
        labels = infer_labels(logits_of, images, config)
        assert torch.equal(labels, infer(logits_of, images, config).argmax(dim=1))


@pytest.mark.parametrize("size", [(31, 50), (7, 3), (12, 20), (200, 9), (12, 7), (5, 20)])
def test_resized_rows_are_rows_of_the_resized_map(size):
    logits = torch.randn(2, 3, 12, 20)
    whole = torch.nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    step = max(1, size[0] // 3)
    for top in range(0, size[0], step):
        bottom = min(top + step, size[0])
        rows = resized_rows(logits, size, top, bottom)
        torch.testing.assert_close(rows, whole[..., top:bottom, :], rtol=1e-5, atol=1e-5)


def test_every_config_keeps_areas_of_one_class():
    labels = np.zeros((48, 72), np.int64)
    labels[:, 40:] = 1
    images = rearrange(torch.from_numpy(labels), "h w -> 1 1 h w").repeat(1, 3, 1, 1).float()
    for config in CONFIGS:
        logits = infer(lambda x: torch.cat([1 - x[:, :1], x[:, :1]], dim=1), images, config)
        wrong = (logits.argmax(dim=1)[0].numpy() != labels).mean()
        assert wrong < 0.02, config


def test_mixed_precision_is_close_to_single_precision():
    logits_of, images = model(), random_images()
    with torch.inference_mode():
        full, mixed = (infer(logits_of, images, InferenceConfig(precision=name)) for name in ("32", "bf16"))
    assert mixed.dtype == torch.float32
    assert not torch.equal(full, mixed)
    torch.testing.assert_close(full, mixed, rtol=0.1, atol=0.1 * float(full.abs().max()))


def test_the_config_decides_the_precision_inside_mixed_precision():
    logits_of, images = model(), random_images()
    with torch.inference_mode():
        full = infer(logits_of, images, InferenceConfig())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(infer(logits_of, images, InferenceConfig()), full)


def test_many_windows_are_named_once_before_the_first(caplog):
    logits_of = model()
    warned = []

    def watched(images):
        warned.append([record.getMessage() for record in caplog.records])
        return logits_of(images)

    images = random_images(1, 33, 46)
    infer_labels(watched, images, InferenceConfig(window=(2, 2), stride=(2, 2)))  # 17 x 23 windows
    assert not caplog.records
    config = InferenceConfig(window=(1, 2), stride=(1, 1))  # 33 x 45 windows
    next(infer_bands(watched, images, config))
    assert ["33x46 pixels takes 1,485 windows of 1x2, " in text for text in warned[-1]] == [True]
    next(infer_bands(watched, images, config))
    assert len(caplog.records) == 1
