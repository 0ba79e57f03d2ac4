import multiprocessing
import resource
import sys
import threading

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image

from segattn.inference.backends import Network, load_network
from segattn.io.image_files import open_image
from segattn.predict import Options, inference
from segattn.predict.inference import Predictor, StoppedError, resized_rows
from segattn.predict.spool import Spool
from segattn.sample import SizeRule
from tests.checkpoints.saved import CLASSES
from tests.predict.conftest import picture

CPU = torch.device("cpu")
PALETTE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def by_color(images):
    """Logits of a perfect model of four colors: minus the squared distance to each."""
    distance = rearrange(images, "b c h w -> b 1 c h w") - rearrange(PALETTE, "k c -> 1 k c 1 1")
    return -30 * distance.square().sum(dim=2)


def predictor(logits=by_color, rule=SizeRule(), **options):
    return Predictor(Network(logits, CLASSES, rule, "0", CPU), Options(**options))


def colored(labels):
    return (PALETTE.numpy()[labels] * 255).astype(np.uint8)


def quadrants(height=48, width=72):
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 3, width // 2 :] = 1
    labels[height // 3 :, : width // 3] = 2
    labels[height // 2 :, width // 2 :] = 3
    return labels


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window": (16, 16)},
        {"window": (17, 30), "stride": (5, 30)},
        {"window": (999, 20), "stride": (1, 7)},
        {"flip": True},
        {"scales": (1.0, 2.0), "flip": True},
        {"scales": (2.0,), "window": (24, 24)},
        {"short_side": 96},
        {"short_side": 96, "window": (32, 32), "confidence": True, "probabilities": "all"},
    ],
)
@pytest.mark.parametrize("size", [(48, 72), (1, 1), (3, 200)])
def test_all_modes_agree_on_an_image_of_constant_classes(options, size):
    labels = quadrants(*size)
    (prediction,) = predictor(**options).predict(colored(labels)[None])
    if "scales" in options or "short_side" in options:  # resized edges are mixed colors
        assert (prediction.labels != labels).mean() < 0.05
    else:
        np.testing.assert_array_equal(prediction.labels, labels)


@pytest.mark.parametrize("rule", [SizeRule(), SizeRule(60, 90), SizeRule(24, None, (16, 16), (9, 11))])
def test_masks_are_those_of_the_model_in_validation(checkpoint, rule):
    network = load_network(checkpoint, CPU)
    image = picture(1, 40, 56)
    (prediction,) = Predictor(Network(network.logits, CLASSES, rule, "0", CPU), Options()).predict(image[None])
    from segattn.checkpoints import load_model
    from segattn.io.image_files import resize_image

    resized = resize_image(image, rule.resized(40, 56))
    pixels = rearrange(torch.from_numpy(resized), "h w c -> 1 c h w").float() / 255
    with torch.inference_mode():
        logits = load_model(checkpoint).model.predict_logits(pixels, rule=rule, size=(40, 56))
    np.testing.assert_array_equal(prediction.labels, logits.argmax(dim=1)[0].numpy())
    assert len(np.unique(prediction.labels)) > 1


def test_probabilities_are_averaged_over_sizes_and_sides():
    generator = torch.Generator().manual_seed(0)
    bias = torch.randn(4, 200, 200, generator=generator)

    def lopsided(images):
        return by_color(images) / 10 + bias[:, : images.shape[2], : images.shape[3]]

    image = picture(2, 24, 40)
    (prediction,) = predictor(lopsided, scales=(1.0, 1.5), flip=True, probabilities="all").predict(image[None])
    expected = []
    for height, width in ((24, 40), (36, 60)):
        pixels = torch.from_numpy(inference.resize_image(image, (height, width)).copy())
        pixels = rearrange(pixels, "h w c -> 1 c h w").float() / 255
        for logits in (lopsided(pixels), lopsided(pixels.flip(-1)).flip(-1)):
            expected.append(torch.nn.functional.interpolate(logits, (24, 40), mode="bilinear").softmax(dim=1)[0])
    mean = rearrange(torch.stack(expected).mean(dim=0), "k h w -> h w k")
    np.testing.assert_allclose(prediction.probabilities, mean.numpy(), atol=1e-3)
    np.testing.assert_array_equal(prediction.labels, mean.argmax(dim=-1).numpy())


def test_confidence_and_ranked_probabilities_belong_to_the_labels():
    image = picture(3, 20, 30)
    (every,) = predictor(probabilities="all", confidence=True).predict(image[None])
    (top,) = predictor(probabilities=2).predict(image[None])
    assert (every.probabilities.shape, top.probabilities.shape) == ((20, 30, 4), (20, 30, 2))
    np.testing.assert_allclose(every.probabilities.astype(float).sum(axis=-1), 1, atol=2e-3)
    np.testing.assert_array_equal(every.confidence, np.rint(every.probabilities.max(axis=-1) * 255.0))
    np.testing.assert_array_equal(top.ranked[..., 0], top.labels)
    np.testing.assert_array_equal(np.take_along_axis(every.probabilities, top.ranked, axis=-1), top.probabilities)
    assert (top.probabilities[..., 0] >= top.probabilities[..., 1]).all()


def test_an_image_does_not_depend_on_its_batch():
    images = np.stack([picture(seed) for seed in range(3)])
    together = predictor(window=(16, 16)).predict(images)
    for image, prediction in zip(images, together, strict=True):
        np.testing.assert_array_equal(predictor(window=(16, 16)).predict(image[None])[0].labels, prediction.labels)


@pytest.mark.parametrize("size", [(31, 50), (7, 3), (12, 20), (200, 9)])
def test_rows_are_those_of_the_whole_resized_map(size):
    logits = torch.randn(2, 1, 3, 12, 20)
    whole = torch.nn.functional.interpolate(logits.flatten(0, 1), size=size, mode="bilinear", align_corners=False)
    step = max(1, size[0] // 3)
    for top in range(0, size[0], step):
        bottom = min(top + step, size[0])
        rows = resized_rows(logits, size, top, bottom)
        torch.testing.assert_close(rows.flatten(0, 1), whole[..., top:bottom, :], rtol=1e-5, atol=1e-5)


def test_bands_of_rows_change_no_label(monkeypatch):
    image = picture(4, 90, 130)
    options = {"short_side": 40, "scales": (1.0, 0.7), "flip": True, "confidence": True}
    (whole,) = predictor(**options).predict(image[None])
    monkeypatch.setattr(inference, "BAND_BYTES", 100_000)
    (banded,) = predictor(**options).predict(image[None])
    np.testing.assert_array_equal(whole.labels, banded.labels)
    np.testing.assert_array_equal(whole.confidence, banded.confidence)


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
@pytest.mark.parametrize("options", [{"window": (64, 48)}, {}, {"short_side": 99}])
def test_large_images_go_through_a_file(tmp_path, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(5, 300, 200)).save(tmp_path / "image.png", exif=exif)
    with open_image(tmp_path / "image.png") as opened:
        pixels = opened.read()
    with open_image(tmp_path / "image.png") as opened:
        spool = Spool(opened, tmp_path)
    large = predictor(**options).predict_large(spool)
    spool.close()
    np.testing.assert_array_equal(large.labels, predictor(**options).predict(pixels[None])[0].labels)


def peak_memory(path, folder, results):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_image(path) as opened:
        spool = Spool(opened, folder)
    slopes = rearrange(torch.linspace(-1, 1, 16), "k -> k 1 1")
    labels = predictor(lambda images: images[:, :1] * slopes, window=(400, 400)).predict_large(spool).labels
    results.put(((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, labels.shape))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_memory_does_not_grow_with_the_logits_of_a_large_image(tmp_path):
    Image.fromarray(picture(0, 9000, 1000)).save(tmp_path / "image.png", compress_level=1)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=peak_memory, args=(tmp_path / "image.png", tmp_path, results))
    process.start()
    mebibytes, shape = results.get(timeout=120)
    process.join()
    assert shape == (9000, 1000)
    assert mebibytes < 250, "the logits of sixteen classes alone would take 549 MiB"


def test_too_many_probabilities_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="asks for 5 of 4 classes"):
        predictor(probabilities=5)
    monkeypatch.setattr(inference, "MAX_PROBABILITY_BYTES", 100)
    with pytest.raises(ValueError, match="more than 4 GiB"):
        predictor(probabilities="all").predict(picture(0)[None])


def test_a_run_can_be_stopped_between_windows():
    stop = threading.Event()
    calls = []

    def logits(images):
        calls.append(images.shape)
        stop.set()
        return by_color(images)

    network = Network(logits, CLASSES, SizeRule(), "0", CPU)
    with pytest.raises(StoppedError):
        Predictor(network, Options(window=(8, 8)), stop).predict(picture(0)[None])
    assert len(calls) == 1


def test_mixed_precision_is_close(checkpoint):
    image = torch.from_numpy(picture(6)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        full, mixed = (load_network(checkpoint, CPU, precision=precision).logits(image) for precision in ("32", "bf16"))
    assert mixed.dtype == torch.float32
    assert not torch.equal(full, mixed)
    torch.testing.assert_close(full, mixed, rtol=0.1, atol=0.1 * float(full.abs().max()))
