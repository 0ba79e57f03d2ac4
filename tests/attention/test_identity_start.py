"""Every block can start as the identity: at step 0 it changes no logits, and then it learns."""

from functools import partial

import pytest
import torch
from torch import nn

from segattn import attention
from segattn.attention.identity_start import IdentityStart, attention_block
from segattn.heads import SCSADecoder
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from tests.training.test_task import tiny_task

ENCODER = EncoderSpec("tu-test_resnet", None, 32)
HEAD = partial(SCSADecoder, channels=32, attention=nn.Identity)
PLACES = {
    "levels": lambda block: {"attention": block, "attention_levels": [2, 3, 4, 5]},
    "residual blocks, last": lambda block: {"residual_attention": block},
    "residual blocks, middle": lambda block: {"residual_attention": block, "residual_position": "middle"},
}
every_block = pytest.mark.parametrize("block", [getattr(attention, name) for name in attention.__all__])


def model_with(**options):
    torch.manual_seed(0)
    model = SegmentationModel(ModelSpec(4, ENCODER, **{"head": HEAD} | options)).eval()
    inserted = {module for block in model.residual_attention for module in block.modules()}
    for module in model.encoder.modules():
        if isinstance(module, nn.BatchNorm2d) and module not in inserted:
            nn.init.ones_(module.weight)  # the last norm of a residual block starts at 0, which would hide the block
    return model


@torch.no_grad()
def assert_same_logits(model, plain):
    """Compare the logits of a model and of one of the same seed without the blocks: all other weights are the same."""
    image = torch.rand(2, 3, 40, 72)
    assert torch.equal(model(image).logits, plain(image).logits)


@pytest.mark.parametrize("place", PLACES)
@every_block
def test_blocks_in_the_encoder_change_no_logits_at_step_0(block, place):
    model, plain = model_with(**PLACES[place](block), identity_start=True), model_with(**PLACES[place](nn.Identity))
    assert_same_logits(model, plain)


@every_block
def test_blocks_in_a_decoder_change_no_logits_at_step_0(block):
    head = partial(SCSADecoder, channels=32)
    model = model_with(head=partial(head, attention=block, identity_start=True))
    assert_same_logits(model, model_with(head=partial(head, attention=nn.Identity)))


@pytest.mark.parametrize("place", PLACES)
def test_published_blocks_change_the_logits_at_step_0(place):
    model, plain = (model_with(**PLACES[place](block)) for block in (attention.SCSA, nn.Identity))
    with pytest.raises(AssertionError):
        assert_same_logits(model, plain)


def silent(module):
    """The parameters that are not frozen but have no gradient, or gradient 0."""
    trained = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    return {name for name, parameter in trained if parameter.grad is None or not parameter.grad.any()}


@every_block
def test_gamma_gets_a_gradient_at_the_first_step_and_the_block_afterwards(block):
    module = attention_block(block, 64, identity_start=True)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    x, weights = torch.randn(2, 3, 64, 9, 12)
    gammas = {name for name, _ in module.named_parameters() if name.endswith("gamma")}
    outer = {"gamma"} & gammas or gammas
    seen = []
    for _ in range(3):  # blocks that contain a gamma which starts at 0 need the third step
        optimizer.zero_grad()
        (module(x) * weights).mean().backward()
        seen.append(silent(module))
        optimizer.step()
    assert not seen[0] & outer
    assert not seen[2]


def test_blocks_with_their_own_gamma_are_not_wrapped():
    wrapped = {
        name
        for name in attention.__all__
        if isinstance(attention_block(getattr(attention, name), 32, identity_start=True), IdentityStart)
    }
    assert set(attention.__all__) - wrapped == {
        "ChannelAttention",
        "ChannelPositionAttention",
        "CrissCrossAttention",
        "DisentangledNonLocal",
        "GlobalContext",
        "NonLocal",
        "PositionAttention",
    }
    for name in attention.__all__:
        assert type(attention_block(getattr(attention, name), 32, identity_start=False)).__name__ == name


@every_block
@torch.no_grad()
def test_gamma_scales_the_change_of_each_channel(block):
    module = IdentityStart(block(32), 32).eval()
    module.gamma.copy_(torch.linspace(-1, 2, 32))
    x = torch.randn(2, 32, 5, 7)
    after = module.block(x)
    expected = torch.stack([x[:, c] + module.gamma[c] * (after[:, c] - x[:, c]) for c in range(32)], dim=1)
    torch.testing.assert_close(module(x), expected)


def test_gamma_is_not_decayed():
    task = tiny_task(attention=attention.SCSA, identity_start=True)
    decayed, kept = (
        {id(p) for group in task._parameter_groups() if ("weight_decay" in group) == excluded for p in group["params"]}
        for excluded in (False, True)
    )
    (gamma,) = (id(p) for name, p in task.named_parameters() if name.endswith("gamma"))
    assert kept == {gamma}
    assert len(decayed) == len(list(task.parameters())) - 1


def test_identity_start_without_blocks_is_an_error():
    with pytest.raises(ValueError, match="identity_start has no effect without attention"):
        ModelSpec(4, ENCODER, HEAD, identity_start=True)
