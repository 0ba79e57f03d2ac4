from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import SGD
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassJaccardIndex

from segattn.attention import SqueezeExcite
from segattn.checkpoints import load_model
from segattn.data.cityscapes import CLASSES as CITYSCAPES_CLASSES
from segattn.heads import DANetHead, FCNHead
from segattn.inference import InferenceConfig, infer
from segattn.metrics import BoundaryIoU, ImageLevelIoU
from segattn.models.encoders import EncoderSpec
from segattn.sample import IGNORE_INDEX, ClassInfo, ClassTable, SizeRule
from segattn.training.losses import CrossEntropy
from segattn.training.schedule import PolynomialSchedule
from segattn.training.task import NonFiniteLossError, SegmentationTask

CLASSES = ClassTable(tuple(ClassInfo(name, (i, i, i), i) for i, name in enumerate(("road", "car", "sky"))))
TINY = EncoderSpec("tu-test_resnet", None, 8)
HEAD = partial(FCNHead, channels=8, stage3_channels=8)


def tiny_task(**options):
    torch.manual_seed(0)
    return SegmentationTask(CLASSES, **{"encoder": TINY, "head": HEAD} | options)


def batches(count, *, batch=2, image=(24, 40), mask=(24, 40)):
    generator = torch.Generator().manual_seed(3)
    for index in range(count):
        labels = torch.randint(len(CLASSES), (batch, *mask), generator=generator)
        labels[:, :3] = IGNORE_INDEX
        images = torch.rand(batch, 3, *image, generator=generator)
        yield {"image": images, "mask": labels, "name": [f"{index}_{i}.png" for i in range(batch)]}


def loader(count, **sizes):
    return DataLoader(list(batches(count, **sizes)), batch_size=None)


def trainer(tmp_path, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=tmp_path, enable_checkpointing=False, **quiet | options)


def test_the_loss_is_the_weighted_sum_over_all_outputs(tmp_path):
    weights = {"position": 1.0, "channel": 0.5, "stage3": 0.25}
    head = partial(DANetHead, channels=8, stage3_channels=8, dropout=0.0)
    task = tiny_task(head=head, auxiliary_weights=weights)
    batch = next(batches(1))
    output = task.model(batch["image"])
    expected = CrossEntropy()(output.logits, batch["mask"])
    for name, logits in output.auxiliary.items():
        expected = expected + weights[name] * CrossEntropy()(logits, batch["mask"])
    task.log = task.log_dict = lambda *_, **__: None
    torch.testing.assert_close(task.training_step(batch, 0), expected)


def test_auxiliary_weights_must_name_the_outputs_of_the_head():
    with pytest.raises(ValueError, match="names position, but the head's auxiliary outputs are stage3"):
        tiny_task(auxiliary_weights={"position": 1.0})


def test_scores_cover_all_images_at_annotation_resolution(tmp_path):
    task = tiny_task()
    sizes = {"image": (37, 61), "mask": (37, 61)}
    (scores,) = trainer(tmp_path).validate(task, loader(3, **sizes), verbose=False)
    task.eval()
    reference = MulticlassJaccardIndex(len(CLASSES), ignore_index=IGNORE_INDEX)
    right = valid = 0
    for batch in batches(3, **sizes):
        prediction = task.model(batch["image"]).logits.argmax(1)
        reference.update(prediction, batch["mask"])
        known = batch["mask"] != IGNORE_INDEX
        right, valid = right + int((prediction == batch["mask"])[known].sum()), valid + int(known.sum())
    assert scores["val/miou"] == pytest.approx(reference.compute().item(), rel=1e-6)
    assert scores["val/pixel_accuracy"] == pytest.approx(right / valid, rel=1e-6)
    per_class = [scores[f"val/iou/{name}"] for name in CLASSES.names]
    assert np.nanmean(per_class) == pytest.approx(scores["val/miou"], rel=1e-6)


def test_validate_adds_the_further_scores(tmp_path):
    task = tiny_task()
    fitted = trainer(tmp_path, max_steps=1)
    fitted.fit(task, loader(1), loader(3))
    assert "val/mean_f1" in fitted.callback_metrics
    assert "val/boundary_miou" not in fitted.callback_metrics
    (scores,) = trainer(tmp_path).validate(task, loader(3), verbose=False)
    boundary, images = BoundaryIoU(len(CLASSES)), ImageLevelIoU(len(CLASSES))
    for batch in batches(3):
        prediction = task.eval()(batch["image"]).argmax(1)
        boundary.update(prediction, batch["mask"])
        images.update(prediction, batch["mask"])
    for name, value in {**boundary.compute(), **images.compute()}.items():
        if value.ndim == 0:
            assert scores[f"val/{name}"] == pytest.approx(value.item(), rel=1e-6), name
    assert not any("iiou" in name for name in scores)  # no instances


def test_cityscapes_reports_instance_level_iou(tmp_path):
    classes = CITYSCAPES_CLASSES
    task = SegmentationTask(classes, encoder=TINY, head=HEAD)
    car = classes.names.index("car")
    mask = torch.full((1, 24, 40), classes.names.index("road"))
    mask[:, 5:9, 5:9] = car
    mask[:, 10:20, 20:30] = car
    instances = torch.zeros_like(mask)
    instances[:, 5:9, 5:9], instances[:, 10:20, 20:30] = 1, 2
    prediction = mask.clone()
    prediction[:, 5:9, 5:9] = 0  # the small car is lost
    batch = {"image": torch.rand(1, 3, 24, 40), "mask": mask, "name": ["a"], "instances": instances}
    task.forward = lambda images: torch.nn.functional.one_hot(prediction, len(task.classes)).movedim(-1, 1).float()
    (scores,) = trainer(tmp_path).validate(task, DataLoader([batch], batch_size=None), verbose=False)
    assert scores["val/miiou"] == pytest.approx(0.5)  # both cars weigh the same; IoU would be 100 / 116


class PixelLoss(torch.nn.Module):
    """A user's loss."""

    def forward(self, logits, mask):
        return CrossEntropy()(logits, mask) + 1


def test_validation_loss_is_the_cross_entropy_averaged_over_images(tmp_path):
    task = tiny_task(loss=PixelLoss())
    batches_of = [*batches(2), *batches(1, batch=1)]
    batches_of[0]["mask"][0] = IGNORE_INDEX  # an image without labels
    (scores,) = trainer(tmp_path).validate(task, DataLoader(batches_of, batch_size=None), verbose=False)
    task.eval()
    losses = [
        CrossEntropy()(task(image[None]), mask[None]).item()
        for batch in batches_of
        for image, mask in zip(batch["image"], batch["mask"], strict=True)
    ]
    assert scores["val/loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    (scores,) = trainer(tmp_path).test(task, DataLoader(batches_of, batch_size=None), verbose=False)
    assert scores["test/loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_forward_and_predict_step_work_without_labels(tmp_path):
    inference = InferenceConfig(window=(16, 16), flip=True)
    task = tiny_task(inference=inference)
    images = [{"image": torch.rand(2, 3, 24, 40)} for _ in range(2)]
    predictions = trainer(tmp_path).predict(task, DataLoader(images, batch_size=None))
    assert [prediction.shape for prediction in predictions] == [(2, 24, 40)] * 2
    task.eval()
    with torch.inference_mode():
        expected = infer(task, images[1]["image"], inference)
        assert task(images[1]["image"]).shape == expected.shape == (2, 3, 24, 40)
    assert torch.equal(predictions[1], expected.argmax(dim=1))


def test_sanity_check_leaves_no_scores(tmp_path):
    task = tiny_task()
    fitted = trainer(tmp_path, max_steps=1, num_sanity_val_steps=1, limit_val_batches=0.0)
    fitted.fit(task, loader(1), loader(1))
    assert task.evaluation.scores == {}
    seen = []
    task = tiny_task()
    task.on_train_start = lambda: seen.append(dict(task.evaluation.scores))
    trainer(tmp_path, max_steps=1, num_sanity_val_steps=1).fit(task, loader(1), loader(1))
    assert seen == [{}]
    assert task.evaluation.scores


def test_non_finite_loss_stops_training_and_names_the_files(tmp_path):
    task = tiny_task()
    with torch.no_grad():
        task.model.head.classifier[-1].bias[0] = torch.nan
    with pytest.raises(NonFiniteLossError, match=r"became nan at step 0 \(epoch 0\) on 0_0\.png, 0_1\.png"):
        trainer(tmp_path, max_steps=2).fit(task, loader(2), loader(1))


def test_parameter_groups_follow_the_options(tmp_path):
    optimizer = partial(SGD, lr=0.1, weight_decay=0.01)
    schedule = PolynomialSchedule(power=0.0, floor=0.0)
    task = tiny_task(optimizer=optimizer, schedule=schedule, head_lr_factor=10.0, decay_norms=False)
    task._trainer = SimpleNamespace(estimated_stepping_batches=4)
    groups = task.configure_optimizers()["optimizer"].param_groups
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(list(task.model.parameters()))
    for name, parameter in task.model.named_parameters():
        lr = 0.1 if name.startswith("encoder.") else 1.0
        decays = parameter.ndim > 1
        assert found[id(parameter)] == (pytest.approx(lr), 0.01 if decays else 0.0), name


def test_attention_in_residual_blocks_has_the_rate_of_the_head():
    optimizer, schedule = partial(SGD, lr=0.1), PolynomialSchedule(power=0.0, floor=0.0)
    task = tiny_task(optimizer=optimizer, schedule=schedule, head_lr_factor=10.0, residual_attention=SqueezeExcite)
    task._trainer = SimpleNamespace(estimated_stepping_batches=4)
    groups = task.configure_optimizers()["optimizer"].param_groups
    found = {id(p): group["lr"] for group in groups for p in group["params"]}
    inserted = [p for block in task.model.residual_attention for p in block.parameters()]
    assert inserted
    assert {found[id(p)] for p in inserted} == {1.0}
    assert found[id(next(task.model.encoder.parameters()))] == 0.1


def test_the_number_of_validations_is_resumed():
    """It decides which validations split the scores by object size."""
    task, checkpoint = tiny_task(), {}
    task._validations = 5
    task.on_save_checkpoint(checkpoint)
    resumed = tiny_task()
    resumed.on_load_checkpoint(checkpoint)
    assert resumed._validations == 5


def test_learning_rates_decay_with_the_distance_from_the_head():
    schedule = PolynomialSchedule(power=0.0, floor=0.0)
    options = {"optimizer": partial(SGD, lr=0.1, weight_decay=0.01), "schedule": schedule, "layer_decay": 0.5}
    task = tiny_task(**options, head_lr_factor=4.0, decay_norms=False)
    task._trainer = SimpleNamespace(estimated_stepping_batches=4)
    groups = task.configure_optimizers()["optimizer"].param_groups
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(list(task.model.parameters()))
    for name, parameter in task.model.named_parameters():
        layer = name.partition("layer")[2]
        lr = 0.1 * 0.5 ** (5 - int(layer[0]) if layer else 5) if name.startswith("encoder.") else 0.4
        assert found[id(parameter)] == (pytest.approx(lr), 0.01 if parameter.ndim > 1 else 0.0), name


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"layer_decay": 0.0}, "above 0 and at most 1, got 0.0"),
        ({"layer_decay": 1.5}, "above 0 and at most 1, got 1.5"),
        ({"layer_decay": 0.5, "encoder": replace(TINY, freeze=True)}, "has no effect on a frozen encoder"),
        ({"head_lr_factor": 0.0}, "must be positive, got 0.0"),
    ],
)
def test_invalid_learning_rates_are_errors(options, what):
    with pytest.raises(ValueError, match=what):
        tiny_task(**options)


def test_weight_decay_applies_to_all_parameters_by_default(tmp_path):
    task = tiny_task()
    assert all("weight_decay" not in group for group in task._parameter_groups())


def test_speed_options_do_not_change_results(tmp_path):
    batch = next(batches(1))
    plain, channels_last = tiny_task().eval(), tiny_task(channels_last=True).eval()
    torch.testing.assert_close(plain(batch["image"]), channels_last(batch["image"]), rtol=1e-4, atol=1e-5)
    compiled = tiny_task(compile=True)
    assert compiled.model._compiled_call_impl is not None
    assert set(compiled.state_dict()) == set(plain.state_dict())


def test_checkpoint_is_self_contained(tmp_path):
    inference = InferenceConfig(SizeRule(short_side=30), window=(24, 24), stride=(16, 16))
    task = tiny_task(inference=inference)
    run = trainer(tmp_path, max_steps=1)
    run.fit(task, loader(1), loader(1))
    run.save_checkpoint(tmp_path / "x.ckpt")
    trained = load_model(tmp_path / "x.ckpt")
    assert (trained.classes, trained.inference) == (CLASSES, inference)
    image = torch.rand(1, 3, 30, 40)
    expected = task.eval().model(image).logits
    torch.testing.assert_close(trained.model(image).logits, expected)
