import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segattn.models import encoders
from segattn.models.encoders import Encoder, EncoderSpec


@pytest.mark.parametrize(
    ("name", "stride", "strides"),
    [
        ("resnet18", 8, (1, 2, 4, 8, 8, 8)),
        ("resnet18", 32, (1, 2, 4, 8, 16, 32)),
        ("tu-test_resnet", 16, (1, 2, 4, 8, 16, 16)),
        ("mit_b0", 32, (1, 2, 4, 8, 16, 32)),
        ("tu-test_convnext", 8, (1, 2, 4, 8, 8, 8)),
    ],
)
def test_features_match_the_feature_info(name, stride, strides):
    encoder = Encoder(EncoderSpec(name, None, stride)).eval()
    assert encoder.info.strides == strides
    features = encoder(torch.rand(2, 3, 64, 96))
    for feature, channels, level_stride in zip(features, encoder.info.channels, strides, strict=True):
        assert feature.shape == (2, channels, 64 // level_stride, 96 // level_stride)


def test_images_are_normalized_for_the_weights():
    image = torch.rand(1, 3, 32, 32)
    own = Encoder(EncoderSpec("tu-tf_efficientnet_lite0", None, 32))
    torch.testing.assert_close(own.eval()(image)[0], (image - 0.5) / 0.5)
    other = Encoder(EncoderSpec("resnet18", None, 32, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0)))
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in ((0.1, 0.2, 0.3), (1.0, 2.0, 4.0)))
    torch.testing.assert_close(other.eval()(image)[0], (image - mean) / std)
    assert Encoder(EncoderSpec("resnet18", None, 32)).spec.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet18"])
def test_stage_dilations(name):
    encoder = Encoder(EncoderSpec(name, None, 8, dilations={"layer3": [2], "layer4": [4, 8, 16]})).eval()
    body = getattr(encoder.body, "model", encoder.body)
    assert [block.conv1.dilation[0] for block in body.layer3] == [2, 2]
    assert [block.conv2.dilation[0] for block in body.layer4] == [4, 8]
    for block in body.layer4:
        nn.init.ones_(block.bn2.weight)  # timm initializes residual branches to zero
    plain = Encoder(EncoderSpec(name, None, 8)).eval()
    plain.load_state_dict(encoder.state_dict())
    image = torch.rand(1, 3, 64, 96)
    dilated, other = encoder(image), plain(image)
    assert dilated[-1].shape == other[-1].shape
    assert torch.equal(dilated[3], other[3])
    assert not torch.equal(dilated[5], other[5])


@pytest.mark.parametrize(
    ("stride", "dilations", "what"),
    [
        (8, {"layer9": [2]}, "no stage 'layer9'"),
        (8, {"layer4": []}, r"positive integers, got \[\] for layer4"),
        (8, {"layer4": [0]}, r"positive integers, got \[0\] for layer4"),
        (32, {"layer4": [2]}, "layer4 has a stride"),
    ],
)
def test_invalid_dilations_are_errors(stride, dilations, what):
    with pytest.raises(ValueError, match=what):
        Encoder(EncoderSpec("tu-resnet18", None, stride, dilations=dilations))


@pytest.fixture(scope="module")
def trained():
    """An encoder with weights unlike those of a new one."""
    torch.manual_seed(7)
    encoder = Encoder(EncoderSpec("tu-test_resnet", None, 32))
    for value in encoder.state_dict().values():
        if value.is_floating_point():
            value.normal_()
    return encoder.body


@pytest.mark.parametrize("prefixed", [True, False])
@pytest.mark.parametrize("kind", ["weights.safetensors", "weights.pt", "lightning.ckpt"])
def test_local_weights_are_loaded(tmp_path, trained, kind, prefixed):
    state = {key if prefixed else key.removeprefix("model."): value for key, value in trained.state_dict().items()}
    state["fc.weight"] = torch.zeros(1)  # weights of a classifier are ignored
    path = tmp_path / kind
    if kind.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if kind.endswith("ckpt") else state, path)
    loaded = Encoder(EncoderSpec("tu-test_resnet", str(path), 32)).body.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in trained.state_dict().items())


def write_other_encoder(path):
    torch.save(nn.Linear(2, 3).state_dict(), path)


def write_other_width(path):
    state = Encoder(EncoderSpec("tu-test_resnet", None, 32)).body.state_dict()
    state["model.conv1.0.weight"] = torch.zeros(1, 3, 3, 3)
    torch.save(state, path)


def write_object(path):
    torch.save({"weights": [1, 2]}, path)


def write_code(path):
    path.write_bytes(pickle.dumps(print, protocol=2))


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (write_other_encoder, r"does not fit this encoder: it lacks model\.conv1\.0\.weight and \d+ more"),
        (write_other_width, r"model\.conv1\.0\.weight has shape \(1, 3, 3, 3\) instead of"),
        (write_object, "holds no weights"),
        (write_code, "is refused: besides weights"),
        (lambda path: path.write_bytes(b"no tensors"), "is not a checkpoint"),
        (lambda path: torch.save({1: torch.ones(1)}, path), "not a checkpoint: it holds a dict without names"),
        (lambda path: path.write_bytes(b""), "is empty"),
    ],
)
def test_wrong_weight_files_are_errors(tmp_path, write, what):
    path = tmp_path / "weights.pt"
    write(path)
    with pytest.raises(ValueError, match=what):
        Encoder(EncoderSpec("tu-test_resnet", str(path), 32))


@pytest.mark.parametrize(
    ("name", "stride", "what"),
    [
        ("vgg11", 8, "cannot be dilated to output stride 8"),
        ("tu-test_vit", 32, r"cannot be used: its features have other strides .*; a plain ViT is vit-test_vit\."),
        ("vit-test_resnet", 8, r"cannot be used: it is not a plain vision transformer .*\(try tu-test_resnet\)\."),
        ("vit-vit_srelpos_small_patch16_224", 8, "cannot be used: timm builds it for images of one size only"),
        ("tu-hiera_tiny_224", 32, "cannot be used: it takes only images of the size of its pretraining"),
        ("vit-test_vot", 8, "no encoder 'vit-test_vot'; similar names: vit-test_vit"),
        ("resnet19", 8, "no encoder 'resnet19'; similar names: resnet18"),
        ("tu-resnet19", 8, "no encoder 'tu-resnet19'; similar names: tu-resnet18"),
        ("?", 8, r"similar names: none\. All names: https"),
    ],
)
def test_unusable_encoders_are_errors(name, stride, what):
    with pytest.raises(ValueError, match=what):
        Encoder(EncoderSpec(name, None, stride))


def test_missing_weight_file_is_an_error():
    with pytest.raises(FileNotFoundError, match=r"no weight file .*nowhere\.pt"):
        Encoder(EncoderSpec("resnet18", "nowhere.pt", 32))


def test_download_error_names_the_alternatives(monkeypatch):
    class NoNetwork:
        def head(self, *_, **__):
            raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.get_session", NoNetwork)
    with pytest.raises(OSError, match=r"no route.*path of a local file, or to null"):
        Encoder(EncoderSpec("resnet18", "imagenet", 32))


def test_imagenet_weights_come_from_the_library(monkeypatch):
    asked = {}

    def get_encoder(name, **options):
        asked.update(options, name=name)
        return original(name, **options | {"weights": None})

    original = encoders.smp.encoders.get_encoder
    monkeypatch.setattr(encoders, "_require_network", lambda name: None)
    monkeypatch.setattr(encoders.smp.encoders, "get_encoder", get_encoder)
    spec = Encoder(EncoderSpec("resnet18", "imagenet", 16)).spec
    assert asked == {"name": "resnet18", "weights": "imagenet", "output_stride": 16}
    assert spec.weights is None  # not stored: loading a checkpoint downloads nothing


def test_real_weights_load(shared_data):
    path = shared_data / "weights" / "tf_efficientnet_lite0.in1k.encoder.safetensors"
    encoder = Encoder(EncoderSpec("tu-tf_efficientnet_lite0", str(path), 8))
    assert encoder.spec.mean == (0.5, 0.5, 0.5)
