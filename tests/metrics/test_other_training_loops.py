"""Runs the examples of docs/object_size.md for other training loops."""

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import segattn
from segattn.metrics import ObjectSizeIoU

CLASSES = 150
DOCS = Path(segattn.__file__).parents[1] / "docs/object_size.md"


@pytest.fixture
def batches():
    """Logits at half the resolution of the targets, and the targets, of batches of two images."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 4, (3, 2, 6, 9), generator=generator)
    target = coarse.repeat_interleave(6, -1).repeat_interleave(6, -2)
    target[..., :3] = 255
    logits = torch.randn(3, 2, CLASSES, 18, 27, generator=generator)
    logits[:, :, :4] += 3 * nn.functional.one_hot(target[..., ::2, ::2] % 4, 4).movedim(-1, 2)
    return list(zip(logits, target, strict=True))


@pytest.fixture
def expected(batches):
    metric = ObjectSizeIoU(CLASSES)
    for logits, target in batches:
        metric.update(nn.functional.interpolate(logits, scale_factor=2, mode="bilinear").argmax(1), target)
    scores = {name: score.item() for name, score in metric.compute().items() if not score.ndim}
    assert 0.1 < scores["miou_small"] < 0.9
    return scores


def example(number):
    """The names that an example defines."""
    section = DOCS.read_text(encoding="utf-8").partition("## Other training loops\n")[2]
    names = {"__name__": "example"}
    exec(re.findall(r"```python\n(.*?)```", section, re.S)[number], names)
    return names


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def validation_step(self, batch, index):
        logits, _ = batch
        return logits * self.weight


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_callback(batches, expected, tmp_path):
    callback = example(0)["SizeScores"](CLASSES)
    trainer = lightning.Trainer(
        callbacks=[callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    for _ in range(2):  # the second result does not contain the first
        (scores,) = trainer.validate(Model(), DataLoader(batches, batch_size=None), verbose=False)
        found = {name.removeprefix("val/"): score for name, score in scores.items()}
        assert found == pytest.approx(expected, nan_ok=True)


def test_hugging_face_function(batches, expected):
    compute_metrics = example(1)["compute_metrics"]
    for _ in range(2):
        for number, (logits, target) in enumerate(batches):
            evaluation = SimpleNamespace(predictions=logits, label_ids=target)
            scores = compute_metrics(evaluation, compute_result=number == 2)
            assert (scores is None) == (number < 2)
        assert scores == pytest.approx(expected, nan_ok=True)


class BaseMetric:
    """What mmengine's class of this name does in one process."""

    def __init__(self):
        self.results = []

    def evaluate(self, size):
        results = self.results[:size]
        self.results = []
        return self.compute_metrics(results)


def test_openmmlab_metric(batches, expected, monkeypatch):
    registry = SimpleNamespace(register_module=lambda: lambda cls: cls)
    for name, content in (("evaluator", {"BaseMetric": BaseMetric}), ("registry", {"METRICS": registry})):
        module = ModuleType(f"mmengine.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, f"mmengine.{name}", module)
    monkeypatch.setitem(sys.modules, "mmengine", ModuleType("mmengine"))
    metric = example(2)["SizeMetric"](num_classes=CLASSES)
    for _ in range(2):
        for logits, target in batches:
            prediction = nn.functional.interpolate(logits, scale_factor=2, mode="bilinear").argmax(1, keepdim=True)
            pairs = zip(prediction, target[:, None], strict=True)
            metric.process({}, [{"pred_sem_seg": {"data": p}, "gt_sem_seg": {"data": t}} for p, t in pairs])
        assert metric.evaluate(6) == pytest.approx(expected, nan_ok=True)
