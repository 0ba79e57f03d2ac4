"""Plain ViTs can be exported for all sizes: interpolated and rotary positions, patches of 14 pixels."""

from functools import partial

import pytest
import torch
from torch import nn

from segattn.checkpoints import TrainedModel
from segattn.export import SUFFIXES
from segattn.export.agreement import exported_model
from segattn.export.graph import to_program, write_program
from segattn.heads import FCNHead
from segattn.inference import InferenceConfig
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from tests.checkpoints.saved import CLASSES
from tests.export.test_heads import SIZES
from tests.models import tiny_vits

FORMATS = {"tiny_dinov2_reg4": "onnx", "tiny_dinov3": "torch"}


@pytest.mark.parametrize("vit", FORMATS)
@torch.no_grad()
def test_exported_vits_compute_the_same_at_every_size(vit, tmp_path):
    assert vit in tiny_vits.NAMES
    torch.manual_seed(0)
    head = partial(FCNHead, channels=8, stage3_channels=None)
    model = SegmentationModel(ModelSpec(len(CLASSES), EncoderSpec(f"vit-{vit}", None, 8), head)).eval()
    for parameter in model.parameters():  # every branch has an effect
        if parameter.ndim < 2:
            nn.init.normal_(parameter, std=0.3)
    trained = TrainedModel(model, CLASSES, InferenceConfig(), "0")
    path = tmp_path / f"model{SUFFIXES[FORMATS[vit]]}"
    write_program(to_program(model), trained, path, format=FORMATS[vit])
    network = exported_model(path)
    for batch, height, width in SIZES:
        image = torch.rand(batch, 3, height, width)
        logits = model(image).logits
        torch.testing.assert_close(network(image), logits, rtol=0, atol=1e-4 * float(logits.abs().max()))
