from functools import partial

import pytest
import torch

from segattn import attention
from segattn.attention import SCSA, DualAttention, SqueezeExcite
from segattn.heads import FCNHead, FLAHead, SCSADecoder, SMPDecoder
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel

TINY = EncoderSpec("tu-test_resnet", None, 8)


SMALL_HEAD = partial(FCNHead, channels=8, stage3_channels=8)


def tiny_model(head=SMALL_HEAD, **options):
    torch.manual_seed(1)
    return SegmentationModel(ModelSpec(4, TINY, head, **options)).eval()


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 50), (64, 48)])
def test_logits_have_the_size_of_the_image(size):
    model = tiny_model()
    assert model(torch.rand(2, 3, *size)).logits.shape == (2, 4, *size)
    auxiliary = model.train()(torch.rand(2, 3, *size)).auxiliary
    assert {name: tuple(logits.shape) for name, logits in auxiliary.items()} == {"stage3": (2, 4, *size)}


def test_padding_shifts_no_logits():
    model = tiny_model()
    image = torch.rand(1, 3, 128, 160)
    whole, cut = model(image).logits, model(image[..., :123, :157]).logits
    torch.testing.assert_close(cut[..., :40, :40], whole[..., :40, :40])


def test_channels_last_models_use_this_format_from_image_to_head():
    plain, model = tiny_model(), tiny_model(channels_last=True)
    image, formats = torch.rand(2, 3, 33, 50), []
    for module in (model.encoder, model.head):
        module.register_forward_pre_hook(
            lambda module, inputs: formats.extend(
                tensor.is_contiguous(memory_format=torch.channels_last)
                for tensor in (inputs[0] if isinstance(inputs[0], list) else inputs)
            )
        )
    torch.testing.assert_close(model(image).logits, plain(image).logits, rtol=1e-4, atol=1e-5)
    assert len(formats) > 5
    assert all(formats)
    convolutions = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(each.weight.is_contiguous(memory_format=torch.channels_last) for each in convolutions)


@pytest.mark.parametrize("position", ["middle", "last"])
@pytest.mark.parametrize("name", ["resnet18", "tu-test_resnet", "tu-resnet50", "resnet50"])
def test_residual_attention_keeps_the_pretrained_weights(tmp_path, name, position):
    plain = SegmentationModel(ModelSpec(4, EncoderSpec(name, None, 32), SMALL_HEAD))
    torch.save(plain.encoder.body.state_dict(), tmp_path / "weights.pt")
    spec = EncoderSpec(name, str(tmp_path / "weights.pt"), 32)
    options = {"residual_attention": partial(DualAttention, reduction=2), "residual_position": position}
    model = SegmentationModel(ModelSpec(4, spec, SMALL_HEAD, **options))
    blocks = [module for module in model.modules() if isinstance(module, DualAttention)]
    assert tuple(blocks) == model.residual_attention
    assert len(blocks) == {"resnet18": 8, "tu-test_resnet": 4}.get(name, 16)
    again = SegmentationModel(ModelSpec.from_dict(model.spec.to_dict()))
    again.load_state_dict(model.state_dict())
    with torch.no_grad():  # dual attention doubles its input at initialization: undo that
        for block in blocks:
            block.register_forward_hook(lambda module, inputs, output: output / 2)
        image = torch.rand(1, 3, 64, 64)
        for one, other in zip(plain.eval().encoder(image), model.eval().encoder(image), strict=True):
            torch.testing.assert_close(one, other)


def test_residual_attention_gets_gradients():
    options = {
        "residual_attention": SCSA,
        "residual_position": "middle",
        "attention": SCSA,
        "attention_levels": [3, -1],
    }
    model = SegmentationModel(ModelSpec(4, EncoderSpec("resnet18", None, 32), SMALL_HEAD, **options))
    model(torch.rand(2, 3, 64, 96)).logits.square().mean().backward()
    parameters = [parameter for block in model.residual_attention for parameter in block.parameters()]
    assert parameters
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in parameters)


@pytest.mark.parametrize("position", ["middle", "last"])
@pytest.mark.parametrize("name", ["resnet18", "tu-test_resnet"])
@pytest.mark.parametrize("block", [getattr(attention, name) for name in attention.__all__])
def test_every_block_gets_gradients_inside_residual_blocks(block, name, position):
    options = {"residual_attention": block, "residual_position": position}
    model = SegmentationModel(ModelSpec(4, EncoderSpec(name, None, 32), SMALL_HEAD, **options))
    model(torch.rand(2, 3, 40, 64)).logits.square().mean().backward()
    parameters = [parameter for block in model.residual_attention for parameter in block.parameters()]
    gradients = [parameter.grad for parameter in parameters if parameter.requires_grad]
    assert all(gradient is not None for gradient in gradients)


@pytest.mark.parametrize(
    ("head", "idle"),
    [
        (SMALL_HEAD, [1, 2, 3, 4]),
        (partial(FLAHead, channels=8), [1, 2, 3, 4]),  # its auxiliary classifiers change no prediction
        (partial(SCSADecoder, channels=32), [1]),
        (partial(SMPDecoder, decoder="unet"), []),
    ],
)
def test_idle_attention_is_found(head, idle):
    options = {"attention": SqueezeExcite, "attention_levels": [1, 2, 3, 4, 5]}
    model = SegmentationModel(ModelSpec(4, EncoderSpec("resnet18", None, 32), head, **options))
    assert model.idle_attention == idle
    image = torch.rand(1, 3, 64, 96)
    before = model.eval()(image).logits
    for level, block in model.attention.items():
        with torch.no_grad():
            handle = block.register_forward_hook(lambda module, inputs, output: 2 * output)
            assert torch.equal(model(image).logits, before) == (int(level) in idle)
            handle.remove()


class InPlaceHead(FCNHead):
    """Modifies its input features in place."""

    def forward(self, features):
        features[-1].relu_()
        return super().forward(features)


def test_idle_attention_is_found_with_in_place_heads():
    head = partial(InPlaceHead, channels=8, stage3_channels=None)
    assert tiny_model(head, attention=SqueezeExcite, attention_levels=[2, -1]).idle_attention == [2]


def test_models_without_attention_have_no_idle_attention():
    assert tiny_model().idle_attention == []


def test_missing_encoder_levels_and_blocks_are_errors():
    with pytest.raises(ValueError, match="no ResNet-style residual blocks"):
        SegmentationModel(ModelSpec(4, EncoderSpec("tu-test_convnext", None, 32), SMALL_HEAD, residual_attention=SCSA))
    for level in (0, 6, -6):
        with pytest.raises(ValueError, match=r"among \[1, 2, 3, 4, 5\]"):
            tiny_model(attention=SCSA, attention_levels=[level])


def test_attention_is_on_the_last_level_by_default():
    seen = []
    model = tiny_model(attention=partial(SCSA, window=2))
    model.attention["5"].register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape)))
    model(torch.rand(1, 3, 32, 40))
    assert seen == [(1, model.encoder.info.channels[-1], 4, 5)]
