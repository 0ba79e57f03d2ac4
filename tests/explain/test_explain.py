from functools import partial

import numpy as np
import pytest
import torch
from einops import rearrange
from matplotlib.figure import Figure
from PIL import ExifTags, Image
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segattn import attention
from segattn.attention import (
    CBAM,
    PCSA,
    SCSA,
    SMSA,
    ChannelAttention,
    CrissCrossAttention,
    DisentangledNonLocal,
    DualAttention,
    ExpectationMaximizationAttention,
    FullyAttentional,
    GlobalContext,
    InterlacedSparseAttention,
    PositionAttention,
)
from segattn.checkpoints import TrainedModel
from segattn.cli import main
from segattn.explain import explain, figures
from segattn.explain.attention_views import position_row, view, viewed_blocks
from segattn.heads import (
    AttentionPyramid,
    ChannelSpatialHead,
    DANetHead,
    EMANetHead,
    FLAHead,
    ISAHead,
    OCRHead,
    SCSADecoder,
)
from segattn.heads.ocr_head import ObjectContext
from segattn.inference import InferenceConfig
from segattn.sample import SizeRule
from tests.attention.blocks import build
from tests.checkpoints.saved import CLASSES, lively_model, save_checkpoint
from tests.predict.conftest import picture, tree

PIXEL = (3, 5)
DEFAULT = InferenceConfig()


def trained(head, *, inference=DEFAULT, **options):
    return TrainedModel(lively_model(head, **options), CLASSES, inference, "0")


def view_of(block, x, pixel=PIXEL):
    with torch.no_grad():
        return view("layer", block.eval(), before=x[0], after=block(x)[0], pixel=pixel)


@pytest.fixture
def x():
    return torch.randn(1, 16, 6, 9)


def test_position_row_equals_the_row_of_the_full_map(x):
    block = PositionAttention(16)
    query, key = (rearrange(conv(x), "1 c h w -> (h w) c") for conv in (block.query, block.key))
    whole = (query @ key.T).softmax(dim=1)
    row = view_of(block, x).maps["attends to"]
    np.testing.assert_allclose(row.ravel(), whole[PIXEL[0] * 9 + PIXEL[1]].detach().numpy(), rtol=1e-5, atol=1e-7)


def test_criss_cross_maps_reproduce_each_pass(x):
    block = CrissCrossAttention(16, reduction=2)
    block.gamma.data.fill_(0.5)
    seen = view_of(block, x)
    assert list(seen.maps) == ["attends to, pass 1", "attends to, pass 2"]
    with torch.no_grad():
        for weights in seen.maps.values():
            assert (weights > 0).sum() == 6 + 9 - 1
            value = block.value(x)[0].numpy()
            after = x[0, :, PIXEL[0], PIXEL[1]].numpy() + 0.5 * (value * weights).sum(axis=(1, 2))
            x = block.one_pass(x)
            np.testing.assert_allclose(after, x[0, :, PIXEL[0], PIXEL[1]].numpy(), rtol=1e-4, atol=1e-6)


def test_expectation_maximization_gathers_from_all_positions_through_the_bases(x):
    block = build(ExpectationMaximizationAttention, 16, bases=5).eval()
    seen = view_of(block, x)
    weights, mine = block.estimate(x)[0], seen.bars["weights of the bases"]
    assert mine.sum() == pytest.approx(1)
    rebuilt = np.zeros((6, 9))
    for k, share in enumerate(mine):
        rebuilt += share * weights[0, :, k].reshape(6, 9).numpy() / float(weights[0, :, k].sum())
    np.testing.assert_allclose(seen.maps["attends to"], rebuilt, rtol=1e-5, atol=1e-7)
    assert seen.maps["attends to"].sum() == pytest.approx(1)
    best = weights[0, :, mine.argmax()].reshape(6, 9)
    np.testing.assert_allclose(seen.maps[f"basis {mine.argmax()}"], best.numpy(), rtol=1e-6)


@pytest.mark.parametrize("window", [(2, 3), (4, 4)])
def test_interlaced_row_equals_that_of_the_product_of_both_maps(x, window):
    block = build(InterlacedSparseAttention, 16, window=window).eval()
    sides, margins = block.windows(x)
    padded = torch.nn.functional.pad(x, margins)
    height, width = padded.shape[2:]
    places = [(row, column) for row in range(height) for column in range(width)]
    whole = torch.eye(len(places))
    features = padded
    for part, group in ((block.long_range, lambda a, n: a % n), (block.short_range, lambda a, n: a // n)):
        query, key = (rearrange(conv(features)[0], "c h w -> (h w) c") for conv in (part.query, part.key))
        groups = [[group(a, n) for a, n in zip(place, window, strict=True)] for place in places]
        same = torch.tensor([[mine == other for other in groups] for mine in groups])
        whole = (query @ key.T / 8**0.5).where(same, -torch.inf).softmax(dim=1) @ whole
        features = part(features, sides)
    row = whole[(PIXEL[0] + margins[2]) * width + PIXEL[1] + margins[0]].reshape(height, width)
    expected = row[margins[2] :, margins[0] :][:6, :9].detach().numpy()
    np.testing.assert_allclose(view_of(block, x).maps["attends to"], expected, rtol=1e-5, atol=1e-7)


def test_disentangled_maps_reproduce_the_output_of_the_block(x):
    block = DisentangledNonLocal(16).eval()
    block.out[1].weight.data.fill_(1)
    seen = view_of(block, x)
    with torch.no_grad():
        weights = torch.from_numpy(seen.maps["attends to"] + seen.maps["context"])
        gathered = (block.value(x) * weights).sum(dim=(2, 3), keepdim=True)
        expected = x[:, :, PIXEL[0], PIXEL[1]] + block.out(gathered)[:, :, 0, 0]
        torch.testing.assert_close(block(x)[:, :, PIXEL[0], PIXEL[1]], expected, rtol=1e-4, atol=1e-6)


def test_context_map_reproduces_the_output_of_the_block(x):
    block = GlobalContext(16)
    block.transform[3].weight.data.normal_()
    seen = view_of(block, x)
    with torch.no_grad():
        context = (x * torch.from_numpy(seen.maps["context"])).sum(dim=(2, 3), keepdim=True)
        added = block.transform(context)[0, :, 0, 0].numpy()
    np.testing.assert_allclose(seen.bars["added to channels"], added, rtol=1e-4, atol=1e-6)


def test_object_context_gathers_from_all_positions_through_the_regions(x):
    block, coarse = build(ObjectContext, 16, width=8).eval(), torch.randn(1, 3, 6, 9)
    with torch.no_grad():
        seen = view("layer", block, before=x[0], after=block(x, coarse)[0], pixel=PIXEL, others=[coarse[0]])
        mine = torch.from_numpy(seen.bars["weights of the regions"])
        shares = coarse[0].flatten(1).softmax(1)
        regions = torch.stack([(x[0].flatten(1) * share).sum(1) for share in shares], dim=1)
        gathered = block.out((block.value(regions[None, ..., None])[0, ..., 0] @ mine)[None, :, None, None])
        expected = block(x, coarse)[:, :, PIXEL[0], PIXEL[1]]
    torch.testing.assert_close(gathered[..., 0, 0], expected, rtol=1e-4, atol=1e-5)
    attended = sum(weight * share.reshape(6, 9) for weight, share in zip(mine, shares, strict=True))
    np.testing.assert_allclose(seen.maps["attends to"], attended.numpy(), rtol=1e-5, atol=1e-7)
    best = int(mine.argmax())
    np.testing.assert_allclose(seen.maps[f"region of class {best}"].ravel(), shares[best].numpy(), rtol=1e-6)


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor made by any operator."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [value.numel() for value in tree_leaves(result) if isinstance(value, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return result


def test_full_map_is_never_built():
    height, width = 384, 512
    positions = height // 8 * (width // 8)
    model = trained(HEADS["danet"])
    with LargestTensor() as largest:
        explanation = explain(model, picture(1, height, width), (300, 200))
    assert explanation.views[0].maps["attends to"].size == positions
    assert largest.elements < positions**2 / 4
    with LargestTensor() as largest, torch.no_grad():
        position_row(torch.randn(2), torch.randn(2, height, width))
    assert largest.elements == 2 * height * width


@pytest.mark.parametrize("softmax", ["released", "formula"])
def test_channel_rows_equal_the_rows_of_the_full_map(x, softmax):
    x = x / 4
    flat = rearrange(x, "1 c h w -> c (h w)")
    energy = flat @ flat.T
    whole = (energy.amax(dim=1, keepdim=True) - energy if softmax == "released" else energy).softmax(dim=1)
    seen = view_of(ChannelAttention(16, softmax=softmax), x)
    at_pixel = x[0, :, PIXEL[0], PIXEL[1]].abs()
    assert list(seen.channels) == at_pixel.argsort(descending=True)[:8].tolist()
    np.testing.assert_allclose(seen.rows["channel attention"], whole[list(seen.channels)].numpy(), rtol=1e-4, atol=1e-7)
    first = seen.channels[0]
    gathered = rearrange(whole @ flat, "c (h w) -> c h w", h=6)[first]
    np.testing.assert_allclose(seen.maps[f"channel {first} gathers"], gathered.numpy(), rtol=1e-4, atol=1e-6)


def test_fully_attentional_maps_reproduce_the_output_of_the_block(x):
    block = FullyAttentional(16)
    seen = view_of(block, x)
    with torch.no_grad():
        from segattn.attention.fully_attentional import fully_attentional

        column_key = block.column_encoding(x.mean(dim=3).mT).mT
        row_key = block.row_encoding(x.mean(dim=2).mT).mT
        attended = fully_attentional(x, column_key, row_key, implementation="plain")[0, :, PIXEL[0], PIXEL[1]]
    at_pixel = x[0, :, PIXEL[0], PIXEL[1]].numpy()
    own = (seen.extra["attention in the column"] + seen.extra["attention in the row"]) @ at_pixel
    np.testing.assert_allclose(own, attended.numpy(), rtol=1e-4, atol=1e-5)
    first = seen.channels[0]
    gathered = seen.maps[f"channel {first} gathers"]
    np.testing.assert_allclose(gathered[PIXEL], attended[first].numpy(), rtol=1e-4, atol=1e-5)
    assert np.isfinite(gathered).sum() == 6 + 9 - 1
    np.testing.assert_allclose(seen.rows["in its row"].sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
def test_scsa_gates_reproduce_the_output_of_the_block(x, gate):
    spatial, channel = SMSA(16, gate=gate), PCSA(16, window=2, gate=gate)
    seen = view_of(spatial, x)
    product = seen.extra["gates of rows"][:, :, None] * seen.extra["gates of columns"][:, None, :]
    with torch.no_grad():
        np.testing.assert_allclose(x[0].numpy() * product, spatial(x)[0].numpy(), rtol=1e-4, atol=1e-6)
        weights = view_of(channel, x).bars["channel weights"]
        np.testing.assert_allclose(x[0].numpy() * weights[:, None, None], channel(x)[0].numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(seen.maps["spatial gate"], product.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(seen.maps["gate, kernel 9"], product[12:].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(set(attention.__all__)))
def test_every_block_has_a_view(name, x):
    block = getattr(attention, name)(16)
    inner = viewed_blocks(nn.Sequential(block))
    assert inner
    for layer, part in inner.items():
        seen = view_of(part, x)
        assert seen.block == type(part).__name__
        assert layer.startswith("0")
        assert all(values.shape == (6, 9) for values in seen.maps.values())
        assert seen.maps or seen.bars


def test_inner_blocks_of_nested_blocks_are_viewed():
    model = nn.Sequential(DualAttention(16), SCSA(16), CBAM(16), nn.Conv2d(1, 1, 1))
    assert list(viewed_blocks(model)) == ["0.position", "0.channel", "1.spatial", "1.channel", "2"]


HEADS = {
    "danet": partial(DANetHead, channels=16, stage3_channels=None),
    "fla": partial(FLAHead, channels=16, auxiliary_channels=None),
    "emanet": partial(EMANetHead, channels=16, attention_channels=16, bases=5, stage3_channels=None),
    "isa": partial(ISAHead, channels=16, window=(4, 4), stage3_channels=None),
    "ocr": partial(OCRHead, channels=16, attention_channels=8, coarse_channels=8),
    "pyramid": partial(AttentionPyramid, channels=64, context=FullyAttentional, context_channels=16),
    "scsa": partial(SCSADecoder, channels=16, stage3_channels=None),
    "non-local": partial(ChannelSpatialHead, kind="channel_position", channels=16, stage3_channels=None),
}


@pytest.mark.parametrize("name", HEADS)
def test_explanation_matches_the_prediction_and_has_every_block(name):
    model = trained(HEADS[name])
    image = picture(1, 45, 61)
    explanation = explain(model, image, (50, 30))
    with torch.no_grad():
        pixels = rearrange(torch.from_numpy(image), "h w c -> 1 c h w").float() / 255
        probabilities = model.model(pixels).logits.softmax(dim=1)[0].numpy()
    np.testing.assert_allclose(explanation.probabilities, probabilities[:, 30, 50], rtol=1e-4, atol=1e-6)
    assert explanation.predicted == explanation.class_name == CLASSES.names[probabilities[:, 30, 50].argmax()]
    np.testing.assert_allclose(explanation.class_map, probabilities[explanation.class_index], rtol=1e-4, atol=1e-6)
    assert [seen.layer for seen in explanation.views] == list(viewed_blocks(model.model))
    assert all(seen.gamma in (None, 0.5) for seen in explanation.views)
    assert explanation.padded_size == (48, 64)
    for seen in explanation.views:
        for values in seen.maps.values():
            assert explanation.over_image(values).shape == (45, 61)


def test_gamma_of_a_block_that_starts_as_the_identity():
    model = trained(HEADS["fla"], attention=SCSA, identity_start=True)
    block = model.model.attention["5"]
    layers = ["attention.5.block.spatial", "attention.5.block.channel", "head.attention"]
    for value in (torch.zeros(1), torch.linspace(-1, 1, len(block.gamma))):
        block.gamma.data.copy_(value)
        gamma = pytest.approx(float(value.abs().mean()))
        views = explain(model, picture(1, 45, 61), (50, 30)).views
        assert [(seen.layer, seen.gamma) for seen in views] == list(zip(layers, (gamma, gamma, 0.5), strict=True))


def test_pixel_in_the_features_of_a_resized_image():
    model = trained(HEADS["danet"], inference=InferenceConfig(SizeRule(short_side=80)))
    explanation = explain(model, picture(1, 40, 60), (59, 0))
    assert (explanation.input_size, explanation.padded_size) == ((80, 120), (80, 120))
    position = explanation.views[0]
    assert position.pixel == (0, 14), "the last of 15 columns"
    assert position.maps["attends to"].shape == (10, 15)


def test_evidence_is_grad_cam_on_the_last_level():
    model = trained(HEADS["fla"])
    image = picture(2, 40, 56)
    explanation = explain(model, image, (20, 10), "car")
    pixels = rearrange(torch.from_numpy(image), "h w c -> 1 c h w").float() / 255
    with torch.no_grad():
        features = model.model.encoder(pixels)
        base = features[-1]
        weights = []
        for channel in range(base.shape[1]):  # numerical gradient, summed over all positions

            def logit(step, channel=channel):
                moved = base.double().clone()
                moved[:, channel] += step
                head = model.model.head.double()
                logits = head([*[f.double() for f in features[:-1]], moved]).logits
                full = torch.nn.functional.interpolate(logits, (40, 56), mode="bilinear", align_corners=False)
                return full[0, CLASSES.names.index("car"), 10, 20]

            weights.append((logit(1e-4) - logit(-1e-4)) / 2e-4 / base[0, 0].numel())
        expected = torch.einsum("c,chw->hw", torch.stack(weights), base[0].double()).relu()
    np.testing.assert_allclose(explanation.evidence, expected.numpy(), rtol=1e-2, atol=1e-3 * float(expected.max()))
    assert explanation.class_name == "car"


def test_gain_is_nan_where_the_input_is_zero():
    x = torch.ones(1, 16, 6, 9)
    x[:, :, 2, 3] = 0
    seen = view("layer", CBAM(16), before=x[0], after=x[0] * 2 + 1, pixel=PIXEL)
    assert np.argwhere(~np.isfinite(seen.maps["gain"])).tolist() == [[2, 3]]


def test_model_is_unchanged_afterwards():
    model = trained(HEADS["fla"])
    frozen = next(model.model.parameters()).requires_grad_(False)
    explain(model, picture(0), (5, 3))
    assert [p.requires_grad for p in model.model.parameters()] == [p is not frozen for p in model.model.parameters()]
    assert not any(module._forward_hooks for module in model.model.modules())


def test_invalid_points_images_and_classes():
    model = trained(HEADS["fla"])
    for point in ((56, 3), (3, 40), (-1, 3)):
        with pytest.raises(ValueError, match=f"point {point[0]},{point[1]} is outside the image of 56x40 pixels"):
            explain(model, picture(0), point)
    with pytest.raises(ValueError, match="no class 'cat'; the classes are: road, sky, car, person"):
        explain(model, picture(0), (5, 3), "cat")
    for image in (picture(0)[..., 0], picture(0) / 255, [[1]]):
        with pytest.raises(ValueError, match="must be an array"):
            explain(model, image, (5, 3))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint and an image whose file is rotated by EXIF: upright it is 30 wide and 45 high."""
    folder = tmp_path_factory.mktemp("explain")
    save_checkpoint(folder / "m.ckpt", lively_model(HEADS["fla"]))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.fromarray(picture(3, 30, 45)).save(folder / "a b.png", exif=turned)
    return folder


def run(files, output, point="20,40", **changed):
    given = {"checkpoint": files / "m.ckpt", "image": files / "a b.png", "point": point, "output": output, **changed}
    return main(["explain", *(str(part) for name, value in given.items() for part in (f"--{name}", value))])


def test_command_writes_figures_and_arrays(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "DPI", 40)
    assert run(files, tmp_path / "new" / "out", **{"class": "sky"}) == 0
    names = {"class", "head.attention.FullyAttentional"}
    expected = {f"{name}.{suffix}" for name in names for suffix in ("png", "svg")} | {"arrays.npz"}
    first = tree(tmp_path / "new" / "out")
    assert set(first) == expected
    for name in names:
        with Image.open(tmp_path / f"new/out/{name}.png") as image:
            assert len(np.unique(np.asarray(image))) > 100
        assert first[f"{name}.svg"].startswith(b"<?xml")
    with np.load(tmp_path / "new/out/arrays.npz") as arrays:
        assert arrays["probabilities"].shape == (4,)
        assert arrays["class map"].shape == (45, 30), "upright"
        assert arrays["head.attention/attention in the row"].shape == (16, 16)
    assert "probability of sky: " in capsys.readouterr().out


def test_model_without_attention_is_explained_by_its_evidence(files, tmp_path, capsys, monkeypatch):
    saved = []
    monkeypatch.setattr(figures, "save", lambda explanation, folder: saved.append(explanation) or [])
    save_checkpoint(tmp_path / "fcn.ckpt")
    assert run(files, tmp_path / "out", checkpoint=tmp_path / "fcn.ckpt") == 0
    assert "this model has no attention block" in capsys.readouterr().out
    assert saved[0].views == ()
    assert saved[0].evidence.max() > 0


def test_figure_files_are_reproducible(tmp_path):
    for folder in ("a", "b"):
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([1, 2])
        figures.save_figure(figure, tmp_path / folder, "name")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"point": "40,20"}, "The point 40,20 is outside the image of 30x45 pixels."),
        ({"class": "cat"}, "There is no class 'cat'; the classes are: road, sky, car, person."),
        ({"image": "missing.png"}, "missing.png cannot be read as an image: No such file or directory."),
        ({"image": __file__}, "it is not an image of a known format."),
        ({"checkpoint": "missing.ckpt"}, "There is no checkpoint"),
        ({"checkpoint": __file__}, "test_explain.py"),
        ({"output": __file__}, "cannot be written: "),
    ],
)
def test_user_errors_are_one_sentence(files, tmp_path, capsys, changed, message):
    assert run(files, **{"output": tmp_path / "out", **changed}) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("point", ["3", "3,4,5", "a,b", "1.5,2"])
def test_point_must_be_two_integers(files, tmp_path, capsys, point):
    with pytest.raises(SystemExit, match="2"):
        run(files, tmp_path, point=point)
    assert f"a point must be two integers X,Y such as 120,80, got '{point}'" in capsys.readouterr().err
