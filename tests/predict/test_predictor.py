import multiprocessing
import resource
import sys
import time

import numpy as np
import pytest
import torch
from einops import rearrange
from PIL import Image

from segattn.checkpoints.network import Network
from segattn.inference import InferenceConfig
from segattn.io.image_files import open_image
from segattn.predict import Options
from segattn.predict import predictor as module
from segattn.predict.predictor import Predictor, StoppedError
from tests.checkpoints.saved import CLASSES
from tests.predict.conftest import picture

CPU = torch.device("cpu")
PALETTE = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])


def by_color(images):
    """Logits of a perfect model of four colors: minus the squared distance to each."""
    distance = rearrange(images, "b c h w -> b 1 c h w") - rearrange(PALETTE, "k c -> 1 k c 1 1")
    return -30 * distance.square().sum(dim=2)


def predictor(logits=by_color, **options):
    return Predictor(Network(logits, CLASSES, InferenceConfig(), "0", CPU), Options(**options))


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
def test_all_options_agree_on_areas_of_one_class(options, size):
    labels = quadrants(*size)
    (prediction,) = predictor(**options).predict([colored(labels)])
    if "scales" in options or "short_side" in options:  # resized edges are mixed colors
        assert (prediction.labels != labels).mean() < 0.05
    else:
        np.testing.assert_array_equal(prediction.labels, labels)


def test_confidence_and_ranked_probabilities_belong_to_the_labels():
    image = picture(3, 20, 30)
    (every,) = predictor(probabilities="all", confidence=True).predict([image])
    (top,) = predictor(probabilities=2).predict([image])
    assert (every.probabilities.shape, top.probabilities.shape) == ((20, 30, 4), (20, 30, 2))
    np.testing.assert_allclose(every.probabilities.astype(float).sum(axis=-1), 1, atol=2e-3)
    np.testing.assert_array_equal(every.confidence, np.rint(every.probabilities.max(axis=-1) * 255.0))
    np.testing.assert_array_equal(top.ranked[..., 0], top.labels)
    np.testing.assert_array_equal(np.take_along_axis(every.probabilities, top.ranked, axis=-1), top.probabilities)
    assert (top.probabilities[..., 0] >= top.probabilities[..., 1]).all()


def test_an_image_does_not_depend_on_its_batch():
    images = [picture(0), picture(1), picture(2, 20, 30), picture(3)]
    together = predictor(window=(16, 16)).predict(images)
    for image, prediction in zip(images, together, strict=True):
        np.testing.assert_array_equal(predictor(window=(16, 16)).predict([image])[0].labels, prediction.labels)


def peak_memory(path, results):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_image(path) as opened:
        pixels = opened.read()
    slopes = rearrange(torch.linspace(-1, 1, 16), "k -> k 1 1")
    labels = predictor(lambda images: images[:, :1] * slopes, window=(400, 400)).predict([pixels])[0].labels
    results.put(((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, labels.shape))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_memory_of_a_large_image_excludes_its_logits(tmp_path):
    Image.fromarray(picture(0, 9000, 1000)).save(tmp_path / "image.png", compress_level=1)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=peak_memory, args=(tmp_path / "image.png", results))
    process.start()
    mebibytes, shape = results.get(timeout=120)
    process.join()
    assert shape == (9000, 1000)
    assert mebibytes < 320, "the logits of sixteen classes alone take 549 MiB"


def test_too_many_probabilities_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="probabilities 5 exceeds the number of classes, 4"):
        predictor(probabilities=5)
    monkeypatch.setattr(module, "MAX_BYTES", 9000)
    (reason,) = predictor(probabilities="all").predict([picture(0)])
    assert "take more than 4 GiB" in reason


def test_a_failure_affects_only_images_of_its_size():
    def logits(images):
        if images.shape[-1] == 30:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes.")
        return by_color(images)

    failed, predicted = predictor(logits).predict([picture(0, 20, 30), picture(0)])
    assert "not enough memory for it; try sliding windows" in failed
    assert predicted.labels.shape == (40, 56)


def test_results_come_in_order_and_the_work_stays_bounded():
    started = []

    def slow_square(number):
        started.append(number)
        time.sleep(0.02 * (number % 3))
        return number**2

    mapped = predictor().map_ahead(slow_square, iter(range(100)))
    assert next(mapped) == 0
    assert len(started) < 40
    assert list(mapped) == [number**2 for number in range(1, 100)]


def test_a_failing_function_stops_the_computation_of_other_items():
    """The first item fails while the second one computes windows; later runs are not affected."""
    windows = []
    own = predictor(lambda images: windows.append(time.sleep(0.01)) or by_color(images), window=(4, 4))

    def work(item):
        if item == 0:
            time.sleep(0.05)
            raise OSError("disk full")
        with pytest.raises(StoppedError):
            own.predict([picture(0, 80, 80)])

    with pytest.raises(OSError, match="disk full"):
        list(own.map_ahead(work, range(2)))
    assert 0 < len(windows) < 400
    assert own.predict([picture(0, 8, 8)])[0].labels.shape == (8, 8)


def test_the_precision_of_an_exported_model_is_fixed():
    network = Network(by_color, CLASSES, InferenceConfig(), "0", CPU, exported=True)
    with pytest.raises(ValueError, match="precision of an exported model is fixed"):
        Predictor(network, Options(precision="bf16"))
