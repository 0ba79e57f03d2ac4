"""Imported models give the logits of the originals, and errors name the weights that do not fit."""

import sys
from types import ModuleType

import pytest
import torch
import yaml
from torch import nn

from segattn import cli
from segattn.checkpoints import CheckpointError, import_checkpoint, initialize, load_model
from segattn.checkpoints.foreign import class_table
from segattn.checkpoints.openmmlab import recipe_of
from segattn.checkpoints.openmmlab_heads import OPENMMLAB_HEADS
from segattn.data import cityscapes, cocostuff, isprs, loveda, voc
from segattn.data.pascal_context import read_scheme
from segattn.heads import FCNHead
from segattn.inference import InferenceConfig
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from segattn.sample import SizeRule
from tests.oracles import foreign, openmmlab_heads

CASES = {
    "openmmlab": (foreign.openmmlab, 19, {"align_corners": True}, {"align_corners": True}),
    "openmmlab, FCNHead": (openmmlab_heads.fcn, 19, {}, {"align_corners": False}),
    "openmmlab, ISAHead": (openmmlab_heads.isa, 19, {}, {"align_corners": False}),
    "openmmlab, OCRHead": (openmmlab_heads.ocr, 19, {}, {"align_corners": False}),
    "openmmlab, PSPHead": (openmmlab_heads.psp, 19, {}, {"align_corners": False}),
    "openmmlab, EMAHead": (openmmlab_heads.ema, 19, {}, {"align_corners": False}),
    **{
        f"openmmlab, {name}": (openmmlab_heads.fcn, 19, {"block": block}, {"align_corners": False})
        for name, block in (
            ("CCHead", openmmlab_heads.criss_cross),
            ("DNLHead", openmmlab_heads.disentangled),
            ("GCHead", openmmlab_heads.global_context),
            ("NLHead", openmmlab_heads.non_local),
        )
    },
    "danet, deep stem": (foreign.authors_danet, 150, {"stem": "deep"}, {}),
    "danet, as released": (
        foreign.authors_danet,
        19,
        {"stem": "plain", "multi_dilation": [4, 8, 16]},
        {"multi_dilation": [4, 8, 16]},
    ),
    "flanet": (foreign.flanet, 19, {}, {}),
}


@pytest.fixture(scope="module")
def states():
    """The weights of every case, created by the original code on first use."""
    made, backbone = {}, {}  # all models of OpenMMLab have the same backbone

    def state(case):
        if case not in made:
            forward, classes, options, _ = CASES[case]
            openmmlab = case.startswith("openmmlab")
            made[case] = foreign.State(backbone if openmmlab else {})
            with torch.no_grad():
                forward(made[case], torch.rand(1, 3, 32, 32), classes, **options)
            if openmmlab:
                backbone.update((name, value) for name, value in made[case].items() if name.startswith("backbone."))
        return made[case]

    return state


def training_logits(model, image):
    """Logits and auxiliary logits, with norms and dropout in evaluation mode."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Dropout2d):
            module.eval()
    output = model(image)
    return {"logits": output.logits, **output.auxiliary}


@pytest.mark.parametrize("case", CASES)
def test_logits_match_the_original(states, tmp_path, case):
    forward, classes, options, overrides = CASES[case]
    path = tmp_path / "original.pth"
    torch.save({"state_dict": dict(states(case))}, path)
    trained = import_checkpoint(path, case.split(",")[0], **overrides)
    image = torch.rand(1, 3, 64, 97).double()  # not a multiple of the stride
    state = foreign.State({name: value.double() for name, value in states(case).items()})
    with torch.no_grad():
        expected = forward(state, image, classes, **options)
        torch.testing.assert_close(trained.model.double()(image).logits, expected["logits"])
        found = training_logits(trained.model, image)
    assert expected["logits"].std() > 0.5
    assert set(found) == set(expected)
    for name, logits in expected.items():
        torch.testing.assert_close(found[name], logits)
    assert len(trained.classes) == classes
    assert trained.inference.size_rule == (SizeRule(512, 2048) if classes == 150 else SizeRule())


CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
data_root = base + '/cityscapes'
data_preprocessor = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], size=(769, 769))
model = dict(
    backbone=dict(type='ResNetV1c', depth=50, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True),
    decode_head=dict(type='DAHead', align_corners=True),
    test_cfg=dict(mode='slide', crop_size=(769, 769), stride=(513, 513)))
"""


class HistoryBuffer:
    """An object in mmengine's training checkpoints that is not a weight."""

    def __reduce__(self):
        return HistoryBuffer, ("made",)

    def __init__(self, *arguments):
        assert not arguments, "the object was made"


def test_training_checkpoint_is_imported_with_its_config_and_without_its_objects(states, tmp_path, monkeypatch, capsys):
    module = ModuleType("mmengine")
    module.HistoryBuffer = HistoryBuffer
    monkeypatch.setattr(HistoryBuffer, "__module__", "mmengine")
    monkeypatch.setitem(sys.modules, "mmengine", module)
    names = [f"class {index}" for index in range(19)]
    dataset_meta = {"classes": names, "palette": [[index, 0, 255] for index in range(19)]}
    hooks = {"ema_backbone_conv1_weight": torch.zeros(1), "data_preprocessor.mean": torch.zeros(3, 1, 1)}
    weights = {**states("openmmlab"), **hooks}
    checkpoint = {"meta": {"cfg": CONFIG, "dataset_meta": dataset_meta}, "state_dict": weights}
    torch.save({**checkpoint, "message_hub": {"loss": HistoryBuffer()}}, tmp_path / "iter_80000.pth")
    output = tmp_path / "imported.safetensors"
    arguments = ["import", "--from", "openmmlab", str(tmp_path / "iter_80000.pth"), "--output", str(output)]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "Imported 376 of 378 weights." in printed
    assert f"{output}: tu-resnet50c, DANetHead, 19 classes" in printed
    fresh = SegmentationModel(ModelSpec(19, SPEC, FCNHead))
    lines = initialize(fresh, tmp_path / "iter_80000.pth", classes=load_model(output).classes, part="encoder")
    assert lines[1] == "  encoder: 330 of 330 weights copied"
    trained = load_model(output)
    assert trained.classes.names == tuple(names)
    assert trained.classes.palette[3].tolist() == [3, 0, 255]
    assert trained.inference == InferenceConfig(window=(769, 769), stride=(513, 513))
    assert trained.model.spec.align_corners
    assert trained.model.encoder.spec.dilations is None
    assert trained.model.encoder.spec.mean == (0.485, 0.456, 0.406)
    image = torch.rand(1, 3, 33, 64)
    with torch.no_grad():
        expected = foreign.openmmlab(states("openmmlab"), image, 19, align_corners=True)["logits"]
        torch.testing.assert_close(trained.model(image).logits, expected, rtol=1e-5, atol=1e-4)


SPEC = EncoderSpec("tu-resnet50c", None, 8)


def recipe(**backbone):
    """The recipe of a config with another backbone."""
    model = {"backbone": {"type": "ResNetV1c", **backbone}, "decode_head": {"type": "DAHead"}}
    return recipe_of({"config": f"model = {model}"}, SPEC, "DAHead")


def test_dilations_of_other_configs_are_imported():
    plain = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}
    assert recipe(**plain, contract_dilation=True).encoder.dilations is None
    assert recipe(**plain).encoder.dilations["layer3"][:2] == [2, 2]
    grid = recipe(**plain, contract_dilation=True, multi_grid=(1, 2, 4)).encoder.dilations
    assert (grid["layer3"][:3], grid["layer4"]) == ([1, 2, 2], [1, 2, 4])
    assert recipe(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)).encoder.output_stride == 16
    assert recipe_of({"config": "model = make_model()"}, SPEC, "DAHead") is None
    first_versions = (
        "model = dict(backbone=dict(type='mmseg.models.ResNet'), decode_head=dict(type='mmseg.models.DAHead'))\n"
        "test_cfg = dict(mode='slide', crop_size=(9, 9), stride=(6, 6))"
    )
    assert recipe_of({"config": first_versions}, SPEC, "DAHead").inference.window == (9, 9)
    other = "model = dict(backbone=dict(type='ResNet'), decode_head=dict(type='ASPPHead'))"
    with pytest.raises(ValueError, match="describes ASPPHead on ResNet, not DAHead"):
        recipe_of({"cfg": other}, SPEC, "DAHead")


def test_encoder_of_an_unknown_head_initializes_ours(states, tmp_path):
    state = {
        name.replace("decode_head", "decode_head.of_another"): value for name, value in states("openmmlab").items()
    }
    torch.save(state, tmp_path / "other.pth")
    fresh = SegmentationModel(ModelSpec(19, SPEC, FCNHead))
    lines = initialize(fresh, tmp_path / "other.pth", classes=cityscapes.CLASSES, part="encoder")
    assert lines[1] == "  encoder: 330 of 330 weights copied"


@pytest.mark.parametrize(
    ("head", "widths", "config", "expected"),
    [
        ("CCHead", {"decode_head.convs.0.conv.weight": (32,)}, "recurrence=3", {"channels": 32, "recurrence": 3}),
        (
            "DNLHead",
            {"decode_head.convs.0.conv.weight": (32,), "decode_head.dnl_block.g.conv.weight": (16,)},
            "temperature=0.1, use_scale=True",
            {"channels": 32, "reduction": 2, "temperature": 0.1},
        ),
        (
            "PSPHead",
            {"decode_head.bottleneck.conv.weight": (32,)},
            "pool_scales=(1, 4), align_corners=True",
            {"channels": 32, "bins": [1, 4], "align_corners": True},
        ),
        (
            "ISAHead",
            {"decode_head.in_conv.conv.weight": (32,), "decode_head.global_relation.query_project.0.conv.weight": (8,)},
            "down_factor=(4, 2)",
            {"channels": 32, "reduction": 4, "window": [4, 2]},
        ),
        (
            "EMAHead",
            {
                "decode_head.bottleneck.conv.weight": (32,),
                "decode_head.ema_in_conv.conv.weight": (24,),
                "decode_head.ema_module.bases": (1, 24, 5),
            },
            "num_stages=4, momentum=0.3",
            {"channels": 32, "attention_channels": 24, "bases": 5, "iterations": 4, "momentum": 0.3},
        ),
    ],
)
def test_options_of_a_head_come_from_its_config(head, widths, config, expected):
    source = f"model = dict(backbone=dict(type='ResNet'), decode_head=dict(type='{head}', {config}))"
    found = OPENMMLAB_HEADS[head].head(widths, recipe_of({"cfg": source}, SPEC, head).head)
    assert {name: found.keywords.get(name) for name in expected} == expected


def test_unsupported_option_of_a_head():
    widths = {"decode_head.convs.0.conv.weight": (32,), "decode_head.dnl_block.g.conv.weight": (16,)}
    with pytest.raises(ValueError, match="its config has mode 'dot_product'; supported is 'embedded_gaussian'"):
        OPENMMLAB_HEADS["DNLHead"].head(widths, {"mode": "dot_product"})
    with pytest.raises(ValueError, match="its config has dilation 6; supported is 1"):
        OPENMMLAB_HEADS["FCNHead"].head(widths, {"dilation": 6})


def test_the_last_head_of_a_cascade_is_imported():
    def cascade(options):
        heads = f"[dict(type='FCNHead'), dict(type='OCRHead', {options})]"
        return recipe_of({"cfg": f"model = dict(backbone=dict(type='ResNet'), decode_head={heads})"}, SPEC, "OCRHead")

    assert cascade("align_corners=True").align_corners
    widths = dict.fromkeys(OPENMMLAB_HEADS["OCRHead"].widths.values(), (16,))
    with pytest.raises(ValueError, match="its config has scale 2; supported is 1"):
        OPENMMLAB_HEADS["OCRHead"].head(widths, cascade("scale=2").head)


def without(name):
    return lambda state: state.pop(name)


def extra(name, *shape):
    return lambda state: state.update({name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            without("backbone.layer2.1.bn2.bias"),
            r"it lacks encoder\.body\.model\.layer2\.1\.bn2\.bias\.",
        ),
        (
            lambda state: state.update({"backbone.neck.a": torch.zeros(1), "decode_head.b": torch.zeros(1)}),
            r"it has the unknown weight encoder\.body\.model\.neck\.a and 1 more\.",
        ),
        (
            extra("decode_head.pam.key_project.weight", 8, 32, 1, 1),
            r"key\.weight has shape \(8, .*\(4, 32, 1, 1",
        ),
        (without("decode_head.conv_seg.weight"), "it lacks decode_head.conv_seg.weight"),
        (without("backbone.layer3.5.conv3.weight"), "not ResNet-50, 101 or 152: its stages have .3, 4, 5, 3."),
        (extra("backbone.stem.0.weight", 48, 3, 3, 3), "its stem has 48 channels; supported are 32, 64"),
    ],
)
def test_weights_that_do_not_fit_are_named(states, tmp_path, change, sentence):
    state = dict(states("openmmlab"))
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=f"other.pth cannot be imported: .*{sentence}"):
        import_checkpoint(tmp_path / "other.pth", "openmmlab")


def small_state(**weights):
    """The fewest weights that are recognized as those of OpenMMLab."""
    return {"backbone.x": torch.zeros(1), "decode_head.x": torch.zeros(1), **weights}


def test_other_repositories_and_arguments_without_effect_are_errors(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"module." + key: value for key, value in small_state().items()}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint of danet: use --from openmmlab"):
        import_checkpoint(path, "danet")
    with pytest.raises(CheckpointError, match=r"it lacks decode_head\.conv_seg.* \(supported heads: DAHead, "):
        import_checkpoint(path, "openmmlab")
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"not a checkpoint of flanet: its first weight is conv1\.weight"):
        import_checkpoint(path, "flanet")
    with pytest.raises(ValueError, match="multi_dilation is an option of danet"):
        import_checkpoint(path, "flanet", multi_dilation=[4, 8])
    with pytest.raises(ValueError, match="align_corners is fixed in the code of danet"):
        import_checkpoint(path, "danet", align_corners=True)


@pytest.mark.parametrize(
    ("changed", "classes", "rule"),
    [
        ({}, voc.CLASSES, SizeRule(512, 2048)),
        ({}, read_scheme("context59").classes, SizeRule(520, 520)),
        ({}, cocostuff.CLASSES, SizeRule(512, 2048)),
        ({"agriculture": "agricultural"}, loveda.CLASSES, SizeRule()),
        ({"impervious surface": "impervious_surface", "low vegetation": "low_vegetation"}, isprs.CLASSES, SizeRule()),
    ],
)
def test_published_names_get_the_label_ids_of_the_data_set(changed, classes, rule):
    meta = {
        "CLASSES": [changed.get(name, name) for name in classes.names],
        "PALETTE": [[index, 0, 0] for index in range(len(classes))],
    }
    assert class_table(len(classes), meta, None)[:2] == (classes, rule)
    meta["CLASSES"].sort(reverse=True)  # the same classes in another order
    other, rule, source = class_table(len(classes), meta, None)
    assert (other.names, rule) == (tuple(meta["CLASSES"]), SizeRule())
    assert source == "from the file, with their indices as label ids"


def test_classes_come_from_the_user_the_file_or_their_number(tmp_path):
    table, rule, source = class_table(150, {}, None)
    assert (table.names[0], rule.short_side, source) == ("wall", 512, "those of ADE20K, by their number")
    names = [name.split(",")[0] for name in table.names]
    palette = [[0, 0, 0]] * 150
    for spelled in (names, list(table.names)):  # the first synonym, or all of them
        assert class_table(150, {"CLASSES": tuple(spelled), "PALETTE": palette}, None)[0] is table
    with pytest.raises(ValueError, match="has 7 classes without names: specify them with --classes"):
        class_table(7, {}, None)
    with pytest.raises(ValueError, match="has 7 classes but 150 names: specify them with --classes"):
        class_table(7, {"CLASSES": tuple(names), "PALETTE": palette}, None)
    with pytest.raises(ValueError, match="given table has 150 classes, but the checkpoint 7"):
        class_table(7, {}, table)
    classes = tmp_path / "classes.yaml"
    classes.write_text(yaml.safe_dump({"classes": [{"name": "a", "label": 0}, {"name": "b", "label": 5}]}))
    torch.save(small_state(), tmp_path / "x.pth")
    command = ["import", "--from", "openmmlab", str(tmp_path / "x.pth"), "--classes", str(classes)]
    assert cli.main([*command, "--output", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()
