"""The table of a model's parts: their parameters and multiply-adds."""

from functools import partial

import torch
from lightning.pytorch import Trainer
from torch import nn

from segattn.attention import SCSA, SqueezeExcite
from segattn.heads import FCNHead
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from segattn.training.model_table import ModelTable, model_parts
from tests.training.test_task import tiny_task

HEAD = partial(FCNHead, channels=8, convs=1, stage3_channels=None)


def test_costs_of_the_parts_sum_to_the_cost_of_the_model():
    encoder = EncoderSpec("tu-test_resnet", None, 8)
    options = {"attention": SCSA, "attention_levels": [2, -1], "residual_attention": SqueezeExcite}
    model = SegmentationModel(ModelSpec(4, encoder, HEAD, **options))
    parts = {part.name: part for part in model_parts(model, (32, 48))}
    assert list(parts) == ["encoder", "residual attention", "attention", "head"]
    assert parts["attention"].description == "SCSA on level 2, 5"
    assert parts["residual attention"].description == "SqueezeExcite, 4 blocks"
    assert sum(part.parameters for part in parts.values()) == sum(p.numel() for p in model.parameters())
    plain = model_parts(SegmentationModel(ModelSpec(4, encoder, HEAD)), (32, 48))
    assert parts["encoder"][1:] == plain[0][1:]


def test_identity_start_is_named():
    model = SegmentationModel(
        ModelSpec(4, EncoderSpec("tu-test_resnet", None, 8), HEAD, attention=SCSA, identity_start=True)
    )
    assert model_parts(model, (32, 48))[1].description == "SCSA (identity start) on level 5"


def test_multiply_adds_of_a_head():
    model = SegmentationModel(ModelSpec(4, EncoderSpec("tu-test_resnet", None, 8), HEAD))
    channels = model.encoder.info.channels[-1]
    head = model_parts(model, (32, 48))[-1]
    convolutions = 9 * channels * 8 + 9 * (channels + 8) * 8 + 8 * 4
    assert head.multiply_adds == 4 * 6 * convolutions  # at stride 8


class WithoutShapeFunction(FCNHead):
    """A head with an operation that needs values."""

    def forward(self, features):
        if features[-1].is_meta:
            raise NotImplementedError
        return super().forward(features)


def test_multiply_adds_of_unsupported_heads_are_none(capsys, tmp_path):
    task = tiny_task(head=partial(WithoutShapeFunction, channels=8, stage3_channels=None))
    task.loss = nn.CrossEntropyLoss()
    ModelTable((32, 48)).on_fit_start(Trainer(logger=False, default_root_dir=tmp_path), task)
    printed = capsys.readouterr().out
    assert "WithoutShapeFunction" in printed
    assert "one 32x48 crop" in printed
    assert next(task.parameters()).device == torch.device("cpu")
