"""Object context against plain loops, and the coarse prediction that outlines its regions."""

import torch
from torch.nn import functional as F

from segattn.heads import FeatureInfo, OCRHead
from segattn.heads.ocr_head import ObjectContext
from tests.attention.blocks import build
from tests.oracles.attention_context import object_context


def test_context_and_gradients_equal_the_oracle():
    module = build(ObjectContext, 8, width=6).double().eval()
    x, coarse = (torch.randn(2, count, 4, 5, dtype=torch.float64, requires_grad=True) for count in (8, 3))
    cotangent = torch.randn(2, 8, 4, 5, dtype=torch.float64)
    output, weights = module(x, coarse), dict(module.state_dict())
    expected = torch.stack([object_context(*pair, weights) for pair in zip(x, coarse, strict=True)])
    torch.testing.assert_close(output, expected)
    for mine, theirs in zip(*(torch.autograd.grad(y, (x, coarse), cotangent) for y in (output, expected)), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_coarse_prediction_outlines_the_regions_at_any_size():
    head = build(lambda channels: OCRHead(FeatureInfo((3, 6, channels), (1, 4, 8)), 3, channels=4), 8)
    fine, last = torch.randn(2, 6, 8, 12), torch.randn(2, 8, 4, 6)
    for module in head.modules():
        if not isinstance(module, OCRHead):
            module.eval()
    output = head([fine, fine, last])
    torch.testing.assert_close(output.auxiliary["coarse"], head.coarse(fine))
    x = head.reduce(last)
    coarse = F.interpolate(output.auxiliary["coarse"], (4, 6), mode="bilinear", align_corners=False)
    expected = head.classifier(torch.cat([head.context(x, coarse), x], dim=1))
    torch.testing.assert_close(output.logits, expected)
