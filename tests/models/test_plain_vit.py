"""Plain ViTs: the tokens of the right blocks at the right places, and weight files under the names of all authors."""

import math
from functools import partial

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from segattn.heads import FCNHead, SCSADecoder
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from segattn.models.encoders import Encoder
from segattn.models.plain_vit import PlainViT
from tests.models import tiny_vits


def lively(module):
    """Random weights, because gammas and registers start near zero."""
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def tokens_of_blocks(model, image):
    """The patch tokens (b, channels, rows, columns) after each quarter of the blocks of timm's own model."""
    outputs = []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    model(image)
    rows, columns = (side // model.patch_embed.patch_size[0] for side in image.shape[-2:])
    maps = []
    for quarter in range(1, 5):
        output = outputs[len(outputs) * quarter // 4 - 1]
        if output.ndim == 3:  # class and register tokens come first
            output = output[:, -rows * columns :].unflatten(1, (rows, columns))
        maps.append(output.movedim(-1, 1))
    return maps


@pytest.mark.parametrize("name", ["test_vit", "tiny_dinov3", "samvit_tiny"])
@torch.no_grad()
def test_features_are_the_patch_tokens_of_four_blocks(name):
    encoder = Encoder(EncoderSpec(f"vit-{name}", None, 32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    reference = timm.create_model(name)
    lively(encoder)
    reference.load_state_dict(encoder.body.model.state_dict(), strict=False)
    side = reference.patch_embed.img_size[0]
    image = torch.rand(2, 3, side, side)
    own_image, *features = encoder(image)
    assert torch.equal(own_image, image)
    for feature, tokens in zip(features, tokens_of_blocks(reference.eval(), image), strict=True):
        torch.testing.assert_close(feature, tokens)


def at_centers(tokens, rows, columns):
    """Bilinear values of tokens of 14 pixels at the centers of cells of 16 pixels, one by one."""
    batch, channels, height, width = tokens.shape
    result = torch.zeros(batch, channels, rows, columns)
    for row in range(rows):
        for column in range(columns):
            for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
                place_y, place_x = ((index + 0.5) * 16 / 14 - 0.5 for index in (row, column))
                near_y, near_x = math.floor(place_y) + y, math.floor(place_x) + x
                weight = (1 - abs(place_y - near_y)) * (1 - abs(place_x - near_x))
                result[..., row, column] += weight * tokens[..., min(near_y, height - 1), min(near_x, width - 1)]
    return result


@pytest.mark.parametrize("size", [(64, 96), (32, 16), (112, 128)])
@torch.no_grad()
def test_tokens_of_14_pixels_are_resized_without_a_shift(size):
    vit = lively(PlainViT("tiny_dinov2_reg4", pretrained=False))
    image = torch.rand(1, 3, *size)
    rows, columns = (-(-side // 14) for side in size)
    padded = nn.functional.pad(image, (0, columns * 14 - size[1], 0, rows * 14 - size[0]), mode="replicate")
    reference = timm.create_model("tiny_dinov2_reg4", dynamic_img_size=True).eval()
    reference.load_state_dict(vit.model.state_dict(), strict=False)
    for feature, tokens in zip(vit(image)[1:], tokens_of_blocks(reference, padded), strict=True):
        torch.testing.assert_close(feature, at_centers(tokens, size[0] // 16, size[1] // 16))


@pytest.mark.parametrize("name", tiny_vits.NAMES)
def test_images_of_any_size(name):
    model = SegmentationModel(ModelSpec(3, EncoderSpec(f"vit-{name}", None, 8), FCNHead)).eval()
    for size in ((1, 1), (45, 61), (130, 64)):
        assert model(torch.rand(2, 3, *size)).logits.shape == (2, 3, *size)
    output = model.train()(torch.rand(2, 3, 45, 61))
    sum(logits.square().mean() for logits in (output.logits, *output.auxiliary.values())).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None]
    assert not silent
    with torch.inference_mode():
        SegmentationModel(model.spec).load_state_dict(model.state_dict())


def test_strides_and_channels_of_the_pyramid():
    for name, stride, channels, strides in (
        ("test_vit", 32, (3, 0, 16, 32, 64, 64), (1, 2, 4, 8, 16, 32)),
        ("test_vit", 16, (3, 0, 16, 32, 64, 64), (1, 2, 4, 8, 16, 16)),
        ("tiny_dinov2", 8, (3, 0, 4, 8, 8, 8), (1, 2, 4, 8, 8, 8)),
    ):
        model = SegmentationModel(
            ModelSpec(3, EncoderSpec(f"vit-{name}", None, stride), partial(SCSADecoder, channels=8))
        )
        assert (model.encoder.info.channels, model.encoder.info.strides) == (channels, strides)
        features = model.pyramid(model.encoder(torch.rand(2, 3, 64, 96)))
        shapes = [(2, c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]
        assert [tuple(feature.shape) for feature in features] == shapes


def features_only(vit):
    return {f"model.{key}": value for key, value in vit.state_dict().items()}


def with_classifier(vit):
    return vit.state_dict() | {"norm.weight": torch.ones(16), "head.weight": torch.zeros(5, 16)}


def original_dinov2(vit):
    state = vit.state_dict() | {"mask_token": torch.zeros(1, 16), "norm.weight": torch.ones(16)}
    if "reg_token" in state:  # timm has added the position of the class token to the token
        state["register_tokens"] = state.pop("reg_token")
        state["pos_embed"] = torch.cat([torch.full((1, 1, 16), 0.25), state["pos_embed"]], dim=1)
        state["cls_token"] = state["cls_token"] - 0.25
    return state


def original_dinov3(vit):
    state = {
        key.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma"): v for key, v in vit.state_dict().items()
    }
    state["storage_tokens"] = state.pop("reg_token")
    biases = {f"blocks.{block}.attn.qkv.bias": torch.zeros(48) for block in range(4)}
    return state | biases | {"rope_embed.periods": torch.ones(2), "mask_token": torch.zeros(1, 16)}


def original_sam(vit):
    return {f"image_encoder.{key.replace('mlp.fc', 'mlp.lin')}": value for key, value in vit.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("tiny_dinov2", features_only),
        ("tiny_dinov2", with_classifier),
        ("tiny_dinov2", original_dinov2),
        ("tiny_dinov2_reg4", original_dinov2),
        ("tiny_dinov3", original_dinov3),
        ("tiny_dinov3", features_only),
        ("samvit_tiny", original_sam),
    ],
)
def test_weight_files(tmp_path, capsys, name, write):
    vit = lively(PlainViT(name, pretrained=False)).model
    path = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in write(vit).items()}, path)
    loaded = Encoder(EncoderSpec(f"vit-{name}", str(path), 8)).body.model.state_dict()
    for key, value in vit.state_dict().items():
        torch.testing.assert_close(loaded[key], value, rtol=0, atol=1e-7)
    assert capsys.readouterr().out == ""


def test_position_embeddings_of_another_size_are_resized(tmp_path):
    large = timm.create_model("tiny_dinov2", img_size=112)
    torch.save(large.state_dict(), tmp_path / "weights.pt")
    loaded = Encoder(EncoderSpec("vit-tiny_dinov2", str(tmp_path / "weights.pt"), 8)).body.model
    grid = large.pos_embed[:, 1:].detach().unflatten(1, (8, 8)).movedim(-1, 1)
    small = nn.functional.interpolate(grid, size=(4, 4), mode="bicubic", antialias=True)
    torch.testing.assert_close(loaded.pos_embed[:, 1:].detach(), small.flatten(2).mT)


def test_files_of_other_models_are_errors(tmp_path):
    torch.save(timm.create_model("tiny_dinov2").state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights.pt does not fit this encoder: it lacks model\.reg_token"):
        Encoder(EncoderSpec("vit-tiny_dinov2_reg4", str(tmp_path / "weights.pt"), 8))
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"weights.pt does not fit this encoder: .*has shape \(1, 1, 64\) instead of"):
        Encoder(EncoderSpec("vit-tiny_dinov2", str(tmp_path / "weights.pt"), 8))


def test_normalization_is_that_of_the_pretraining():
    assert EncoderSpec("vit-vit_small_patch14_dinov2").resolved().std == (0.229, 0.224, 0.225)
    assert EncoderSpec("vit-vit_base_patch16_clip_224.openai").resolved().mean[0] == pytest.approx(0.48145466)


def test_padding_cannot_be_disabled():
    with pytest.raises(ValueError, match="needs pad_to_stride: true"):
        SegmentationModel(ModelSpec(3, EncoderSpec("vit-test_vit", None, 8), FCNHead, pad_to_stride=False))
