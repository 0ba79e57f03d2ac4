"""The layers of an encoder, compared with timm's own learning rates by layer."""

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from segattn.attention import SqueezeExcite
from segattn.heads import SCSADecoder
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from segattn.models.encoders import Encoder
from segattn.models.layer_depths import layer_depths


@pytest.mark.parametrize("name", ["tu-test_convnext", "tu-test_resnet", "tu-test_efficientnet", "vit-test_vit"])
def test_layers_are_those_of_timm(name):
    depths = layer_depths(Encoder(EncoderSpec(name, None, 32)))
    with torch.device("meta"):
        whole = timm.create_model(name.partition("-")[2])
    names = {id(parameter): key for key, parameter in whole.named_parameters()}
    groups = param_groups_layer_decay(whole, layer_decay=0.5)
    scales = {names[id(p)].replace(".", "_"): group["lr_scale"] for group in groups for p in group["params"]}
    deepest = max(depths.values())
    assert min(depths.values()) == 0
    assert deepest >= 4
    for key, depth in depths.items():
        assert scales[key.removeprefix("body.model.").replace(".", "_")] == 0.5 ** (deepest + 1 - depth), key


def test_attention_in_a_residual_block_belongs_to_its_layer():
    spec = EncoderSpec("tu-test_resnet", None, 32)
    options = {"residual_attention": SqueezeExcite, "residual_position": "middle"}
    model = SegmentationModel(ModelSpec(3, spec, SCSADecoder, **options))
    depths = layer_depths(model.encoder)
    inserted = {key: depth for key, depth in depths.items() if ".conv2.0." in key or ".conv3.0." in key}
    assert len(inserted) == sum(len(list(block.parameters())) for block in model.residual_attention)
    assert all(depth == int(key.split("layer")[1][0]) for key, depth in inserted.items())


def test_layers_of_other_libraries_are_unknown():
    with pytest.raises(ValueError, match=r"tu-NAME or vit-NAME, whose layers are known; got 'resnet18'\."):
        layer_depths(Encoder(EncoderSpec("resnet18", None, 32)))
