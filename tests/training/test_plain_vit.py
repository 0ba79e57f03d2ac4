"""A plain ViT with each head: training, checkpoint and explanation."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.optim import AdamW

import tests.models.tiny_vits  # noqa: F401  # registers its models
from segattn.attention import SCSA, FullyAttentional
from segattn.checkpoints import load_model
from segattn.explain.explanation import explain_pixel
from segattn.heads import (
    AttentionPyramid,
    CCHead,
    DANetHead,
    DNLHead,
    EMANetHead,
    FCNHead,
    FLAHead,
    GCHead,
    ISAHead,
    NLHead,
    OCRHead,
    PSPHead,
    SCSADecoder,
)
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from tests.training.test_task import loader, tiny_task, trainer

HEADS = {
    "FCN": (partial(FCNHead, channels=8, stage3_channels=8), 8),
    "DANet": (partial(DANetHead, channels=8, stage3_channels=8), 8),
    "FLA": (partial(FLAHead, channels=8, auxiliary_channels=8), 8),
    "SCSA": (partial(SCSADecoder, channels=8, stage3_channels=8), 32),
    "pyramid": (partial(AttentionPyramid, channels=64, context=FullyAttentional, refinement=SCSA), 32),
}


@pytest.mark.parametrize("name", HEADS)
def test_training_checkpoint_and_explanation(tmp_path, name):
    head, stride = HEADS[name]
    vit = "tiny_dinov2_reg4" if name == "SCSA" else "test_vit"
    options = {"head": head, "optimizer": partial(AdamW, lr=0.01), "layer_decay": 0.8}
    task = tiny_task(encoder=EncoderSpec(f"vit-{vit}", None, stride), **options)
    before = {key: value.clone() for key, value in task.model.named_parameters()}
    run = trainer(tmp_path, max_steps=2)
    run.fit(task, loader(2, image=(64, 96), mask=(64, 96)), loader(1, image=(45, 61), mask=(45, 61)))
    unchanged = [key for key, value in task.model.named_parameters() if torch.equal(value, before[key])]
    assert not unchanged
    run.save_checkpoint(tmp_path / "last.ckpt")
    trained = load_model(tmp_path / "last.ckpt")
    image = torch.rand(2, 3, 50, 70)
    with torch.no_grad():
        assert torch.equal(trained.model(image).logits, task.eval().model(image).logits)
    pixels = np.random.default_rng(1).integers(0, 256, (45, 61, 3), dtype=np.uint8)
    explanation = explain_pixel(trained, pixels, (60, 44), None)
    assert explanation.over_image(explanation.evidence).shape == (45, 61)
    assert np.isfinite(explanation.evidence).all()


@pytest.mark.parametrize("head", [CCHead, DNLHead, EMANetHead, GCHead, ISAHead, NLHead, OCRHead, PSPHead])
def test_two_steps_change_every_weight_of_other_heads(head):
    model = SegmentationModel(ModelSpec(4, EncoderSpec("vit-test_vit", None, 8), partial(head, channels=8))).train()
    before = {key: value.clone() for key, value in model.named_parameters() if value.requires_grad}
    optimizer = AdamW(model.parameters(), lr=0.01, weight_decay=0)
    for _ in range(2):
        output = model(torch.rand(2, 3, 64, 96))
        losses = [logits.logsumexp(dim=1).mean() for logits in (output.logits, *output.auxiliary.values())]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
    after = dict(model.named_parameters())
    assert not [key for key, value in before.items() if torch.equal(after[key], value)]


def test_only_the_vit_is_frozen(tmp_path):
    task = tiny_task(encoder=EncoderSpec("vit-test_vit", None, 8, freeze=True), head=HEADS["FCN"][0])
    before = {key: value.clone() for key, value in task.model.state_dict().items()}
    trainer(tmp_path, max_steps=2).fit(task, loader(2), loader(1))
    changed = {key for key, value in task.model.state_dict().items() if not torch.equal(value, before[key])}
    assert {key.partition(".")[0] for key in changed} == {"pyramid", "head"}
    assert {key for key in before if key.startswith("pyramid.")} <= changed
    trained = {id(parameter) for group in task._parameter_groups() for parameter in group["params"]}
    assert trained == {id(p) for part in (task.model.pyramid, task.model.head) for p in part.parameters()}
