"""Training on tiles and validation in windows: the scores are those of the complete images, by plain counting."""

from functools import partial

import numpy as np
import prepare_tiles
import torch
from PIL import Image

from segattn.data import ISAIDDataModule
from segattn.heads import FCNHead
from segattn.inference import InferenceConfig
from segattn.models.encoders import EncoderSpec
from segattn.training.task import SegmentationTask
from tests.data import layouts
from tests.oracles.inference import probabilities
from tests.training.test_task import trainer


def test_validation_in_windows_scores_the_complete_image(tmp_path):
    root = layouts.isaid(tmp_path, {"train": 2, "val": 1}, size=(56, 80))
    assert prepare_tiles.main(["isaid", str(root), "--root", str(root), "--size", "32", "--overlap", "8"]) == 0
    bar = np.zeros((56, 80, 3), np.uint8)
    bar[20:36, 4:76] = layouts.ISAID_COLORS[1]  # one ship, which no window contains completely
    Image.fromarray(bar).save(root / "val" / "Semantic_masks" / "images" / "P1000_instance_color_RGB.png")
    data = ISAIDDataModule(str(root), crop_size=(32, 32), batch_size=2, num_workers=0)
    torch.manual_seed(0)
    inference = InferenceConfig(window=(32, 32), stride=(24, 24))
    task = SegmentationTask(
        data.classes,
        encoder=EncoderSpec("tu-test_resnet", None, 8),
        head=partial(FCNHead, channels=8, stage3_channels=8),
        inference=inference,
    )
    for layer in task.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 16 and layer.bias is not None:
            layer.bias.data[2:] = -100.0  # predicts only the classes that are labeled
            layer.weight.data[:2] -= layer.weight.data[:2].mean()
            layer.bias.data[:2] = 0.0
    (scores,) = trainer(tmp_path).validate(task, data, verbose=False)
    (sample,) = data.val_dataloader()
    (objects,) = sample["objects"]
    assert objects.size[objects.class_id == 1].tolist() == [16 * 72]
    with torch.inference_mode():
        expected = probabilities(task.eval(), sample["image"], inference).argmax(1)[0].numpy()
    mask = np.where(bar.any(-1), 1, 0)
    assert np.unique(expected).tolist() == [0, 1]
    for index, name in ((0, "background"), (1, "ship")):
        both, either = ((expected == index) & (mask == index)).sum(), ((expected == index) | (mask == index)).sum()
        assert scores[f"val/iou/{name}"] == np.float32(both / either)
    assert len(data.dataset("train")) == 2 * 2 * 3
