"""Output and input gradient of each block against an oracle that processes one image at a time."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from segattn import attention
from tests.attention.blocks import build
from tests.oracles import attention_context as context
from tests.oracles import attention_dot_product as dot_product
from tests.oracles import attention_gates as gates
from tests.oracles import attention_scsa as scsa

Oracle = Callable[[Tensor, dict[str, Tensor]], Tensor]

CASES: list[tuple[str, dict[str, Any], Oracle]] = [
    ("BAM", {"reduction": 4}, gates.bam),
    (
        "BAM",
        {"reduction": 4, "combination": "sum", "dilation": 2},
        partial(gates.bam, combination="sum", dilation=2),
    ),
    ("CBAM", {"reduction": 4}, gates.cbam),
    ("CBAM", {"reduction": 2, "kernel_size": 3}, gates.cbam),
    ("CPCA", {}, gates.cpca),
    ("CPCA", {"reduction": 2, "strips": (3, 5, 7)}, gates.cpca),
    ("ChannelAttention", {}, dot_product.channel),
    ("ChannelAttention", {"softmax": "formula"}, partial(dot_product.channel, form="formula")),
    ("ChannelPositionAttention", {}, dot_product.channel_position),
    ("CoordinateAttention", {"reduction": 2, "min_width": 2}, gates.coordinate),
    ("CrissCrossAttention", {"implementation": "plain"}, dot_product.criss_cross),
    ("CrissCrossAttention", {"reduction": 3}, dot_product.criss_cross),
    ("CrissCrossAttention", {"recurrence": 1}, partial(dot_product.criss_cross, recurrence=1)),
    ("CrissCrossAttention", {"recurrence": 3}, partial(dot_product.criss_cross, recurrence=3)),
    ("DisentangledNonLocal", {}, dot_product.disentangled),
    (
        "DisentangledNonLocal",
        {"reduction": 3, "temperature": 0.7, "implementation": "plain"},
        partial(dot_product.disentangled, temperature=0.7),
    ),
    ("DualAttention", {}, dot_product.dual),
    ("ECA", {}, gates.eca),
    ("ECA", {"kernel_size": 5}, gates.eca),
    ("ELA", {}, partial(gates.ela, conv_groups=8, norm_groups=8)),
    (
        "ELA",
        {"kernel_size": 5, "conv_groups": 2, "norm_groups": 4},
        partial(gates.ela, conv_groups=2, norm_groups=4),
    ),
    ("EfficientMultiScaleAttention", {"groups": 2}, partial(gates.efficient_multi_scale, groups=2)),
    ("ExpectationMaximizationAttention", {"bases": 5}, context.expectation_maximization),
    (
        "ExpectationMaximizationAttention",
        {"bases": 3, "iterations": 1},
        partial(context.expectation_maximization, iterations=1),
    ),
    ("FullyAttentional", {"implementation": "plain"}, dot_product.fully_attentional),
    ("FullyAttentional", {"implementation": "fused"}, dot_product.fully_attentional),
    ("InterlacedSparseAttention", {"window": (2, 3)}, partial(context.interlaced, window=(2, 3))),
    (
        "InterlacedSparseAttention",
        {"window": (4, 2), "reduction": 4, "implementation": "plain"},
        partial(context.interlaced, window=(4, 2)),
    ),
    ("NonLocal", {}, dot_product.non_local),
    ("NonLocal", {"reduction": 3, "implementation": "plain"}, dot_product.non_local),
    ("GlobalContext", {}, gates.global_context),
    ("GlobalContext", {"reduction": 2}, gates.global_context),
    ("NAM", {}, gates.nam),
    ("PCSA", {"window": 2, "heads": 2, "qkv_bias": True}, partial(scsa.pcsa, window=2, heads=2)),
    ("PCSA", {"window": 2, "pooling": "max"}, partial(scsa.pcsa, window=2, pooling="max")),
    (
        "PCSA",
        {"window": 2, "pooling": "recombination", "gate": "softmax"},
        partial(scsa.pcsa, window=2, pooling="recombination", gate="softmax"),
    ),
    ("PCSA", {"window": None}, partial(scsa.pcsa, window=None)),
    ("PCSA", {"window": None, "pooling": "max", "heads": 4}, partial(scsa.pcsa, window=None, pooling="max", heads=4)),
    ("PositionAttention", {"implementation": "plain"}, dot_product.position),
    ("PositionAttention", {"implementation": "fused", "reduction": 3}, dot_product.position),
    ("SCSA", {"window": 3}, partial(scsa.scsa, window=3)),
    ("SGE", {"groups": 2}, partial(gates.sge, groups=2)),
    ("SMSA", {}, scsa.smsa),
    ("SMSA", {"gate": "softmax"}, partial(scsa.smsa, gate="softmax")),
    ("SelectiveKernel", {}, partial(gates.selective_kernel, groups=8, dilations=(1, 2))),
    (
        "SelectiveKernel",
        {"kernel_sizes": (1, 3, 5), "dilated": False, "groups": 2, "reduction": 2, "min_width": 3},
        partial(gates.selective_kernel, groups=2, dilations=(1, 1, 1)),
    ),
    ("ShuffleAttention", {"groups": 2}, partial(gates.shuffle, groups=2)),
    ("ShuffleAttention", {"groups": 1}, partial(gates.shuffle, groups=1)),
    ("SqueezeExcite", {"reduction": 2}, gates.squeeze_excite),
    ("SqueezeExcite", {"reduction": 4, "bias": False}, gates.squeeze_excite),
]


@pytest.mark.parametrize("size", [(4, 5), (5, 3)])
@pytest.mark.parametrize(("name", "keywords", "oracle"), CASES)
def test_block_equals_the_oracle(name: str, keywords: dict[str, Any], oracle: Oracle, size: tuple[int, int]) -> None:
    module = build(getattr(attention, name), 8, **keywords).double().eval()
    x = torch.randn(3, 8, *size, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn_like(x)
    output = module(x)
    (gradient,) = torch.autograd.grad(output, x, cotangent)
    weights = dict(module.state_dict())
    expected = torch.stack([oracle(image, weights) for image in x])
    (expected_gradient,) = torch.autograd.grad(expected, x, cotangent)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_every_block_has_an_oracle() -> None:
    assert {name for name, _, _ in CASES} == set(attention.__all__)
