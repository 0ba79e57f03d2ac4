"""Checkpoints of small models that behave like trained ones, written without Lightning."""

from dataclasses import asdict
from functools import partial

import torch

from segattn import __version__
from segattn.heads import FCNHead
from segattn.inference import InferenceConfig
from segattn.models import EncoderSpec, ModelSpec, SegmentationModel
from segattn.sample import ClassInfo, ClassTable

CLASSES = ClassTable(
    (
        ClassInfo("road", (128, 64, 128), 7),
        ClassInfo("sky", (70, 130, 180), 23),
        ClassInfo("car", (0, 0, 142), 26, thing=True),
        ClassInfo("person", (220, 20, 60), 24, thing=True),
    )
)
TINY = EncoderSpec("tu-test_resnet", None, 8)
DEFAULT = InferenceConfig()
HEAD = partial(FCNHead, channels=8, stage3_channels=None)


def lively_model(head=HEAD, *, encoder=TINY, classes=CLASSES, seed=0, **options):
    """A model with random weights in which every branch contributes and every class is predicted somewhere."""
    torch.manual_seed(seed)
    model = SegmentationModel(ModelSpec(len(classes), encoder, head, **options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.5)
        blocks = torch.rand(4, 3, 6, 8).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
        classifiers = [
            module
            for module in model.head.modules()
            if isinstance(module, torch.nn.Conv2d) and module.out_channels == len(classes) and module.bias is not None
        ]
        for _ in range(2):  # first balance the classes, then make the predictions confident
            logits = model(blocks).logits
            for classifier in classifiers:
                classifier.bias -= logits.mean(dim=(0, 2, 3))
                classifier.weight *= 2 / logits.std()
                classifier.bias *= 2 / logits.std()
    return model


def save_checkpoint(path, model=None, *, classes=CLASSES, inference=DEFAULT):
    """Write the parts of a training checkpoint that prediction reads."""
    model = lively_model(classes=classes) if model is None else model
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "version": __version__,
        "classes": classes.to_dicts(),
        "inference": asdict(inference),
        "model": model.spec.to_dict(),
    }
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"state_dict": weights, "segattn": content}, path)
    return path
