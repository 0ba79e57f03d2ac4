"""Follows the four recipes of CONTRIBUTING.md in a copy of the repository, and runs the contract tests there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import segattn

ROOT = Path(segattn.__file__).parents[1]

BLOCK = '''"""A block that scales all channels by one learned factor."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segattn.attention.block import AttentionBlock


class ChannelScale(AttentionBlock):
    """Multiply by a learned factor.

    Args:
        channels: channels of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The scaled input."""
        return x * self.factor
'''

HEAD = '''"""A head that classifies the last level."""

from collections.abc import Sequence

from torch import Tensor, nn

from segattn.heads.base import FeatureInfo, Head, HeadOutput


class LinearHead(Head):
    """One 1x1 convolution on the last level.

    Args:
        features: levels of the encoder.
        num_classes: number of classes.
    """

    def __init__(self, features: FeatureInfo, num_classes: int) -> None:
        super().__init__(features)
        self.classifier = nn.Conv2d(features.channels[-1], num_classes, 1)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Logits at the resolution of the last level."""
        return HeadOutput(self.classifier(features[-1]), {})
'''

DATA_SET = '''"""A data set with two classes."""

from pathlib import Path
from typing import ClassVar

from segattn.data.dataset import SegmentationDataset
from segattn.data.label_map import LabelMap
from segattn.sample import ClassInfo, ClassTable

CLASSES = ClassTable((ClassInfo("ground", (0, 0, 0), 0), ClassInfo("tree", (0, 255, 0), 1)))


class Trees(SegmentationDataset):
    """Trees on the ground.

    Args:
        root: the folder that contains ``images`` and ``annotations``.
        split: ``train`` or ``val``.
    """

    layout: ClassVar[str] = "images/SPLIT/*.jpg and annotations/SPLIT/*.png"
    remedy: ClassVar[str] = "plant them"

    def __init__(self, root: Path | str, split: str = "train") -> None:
        super().__init__(root, CLASSES, self.find_pairs(root, split), LabelMap(CLASSES.label_ids, ignore=[255]))
'''

DATA_MODULE = '''

class TreesDataModule(SegmentationDataModule):
    """Trees on the ground.

    Args:
        root: the folder that contains ``images`` and ``annotations``.
        crop_size: (height, width) of training crops.
    """

    def __init__(self, root: str = "data/trees", *, crop_size: tuple[int, int] = (24, 32), **kwargs: Any) -> None:
        super().__init__(root, trees.CLASSES, crop_size=crop_size, **kwargs)

    def dataset(self, split: str) -> Trees:
        """Open ``train`` or ``val``."""
        return Trees(self.root, split)
'''

LAYOUT = '''

def trees(root: Path, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """Trees: labels 0 and 1."""
    for part, count in {"train": 4, "val": 3}.items():
        for index in range(count):
            save(root / "images" / part / f"{index}.jpg", photo(index, size))
            save(root / "annotations" / part / f"{index}.png", quarters([0, 1, 1, 255], size))
    return root
'''

METRIC = '''"""The number of pixels that were compared."""

import torch
from torch import Tensor
from torchmetrics import Metric


class PixelCount(Metric):
    """Counts pixels."""

    pixels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("pixels", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch."""
        self.pixels += pixel_count(target)

    def compute(self) -> dict[str, Tensor]:
        """The count under the name that is logged."""
        return {"compared_pixels": self.pixels}


def pixel_count(target: Tensor) -> int:
    """Number of pixels."""
    return target.numel()
'''

RECIPE_TEST = """import torch

from segattn.cli import main
from tests.data import layouts


def test_all_additions_work_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layouts.trees(tmp_path / "data", size=(48, 64))
    options = ["--data.root", "data", "--data.num_workers", "0", "--data.batch_size", "2", "--trainer.max_steps", "2"]
    assert main(["fit", "--config", "trees_linear.yaml", *options, "--trainer.accelerator", "cpu"]) == 0
    state = torch.load("runs/trees_linear/version_0/checkpoints/best.ckpt", weights_only=True)
    assert any(key.endswith("attention.5.factor") for key in state["state_dict"])
    assert "head.classifier.weight" in " ".join(state["state_dict"])
    assert main(["validate", "--config", "trees_linear.yaml", *options[:4], "--ckpt_path", "best"]) == 0
"""

CONFIG = """data: {class_path: TreesDataModule}
model:
  encoder: {name: resnet18, weights: null, output_stride: 32}
  attention: ChannelScale
  head: LinearHead
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the repository with a new block, head, data set and metric."""
    root = tmp_path / "copy"
    for folder in ("segattn", "tests", "configs"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, root)
    write(root / "segattn/attention/scale.py", BLOCK)
    export(root / "segattn/attention/__init__.py", "from segattn.attention.scale import ChannelScale", "ChannelScale")
    write(root / "segattn/heads/linear_head.py", HEAD)
    export(root / "segattn/heads/__init__.py", "from segattn.heads.linear_head import LinearHead", "LinearHead")
    insert(root / "tests/heads/test_contract.py", "VARIANTS = [", "    (partial(heads.LinearHead), PYRAMID),")
    write(root / "segattn/data/trees.py", DATA_SET)
    export(root / "segattn/data/__init__.py", "from segattn.data.trees import Trees", "Trees", "TreesDataModule")
    append(root / "segattn/data/datamodules.py", DATA_MODULE)
    insert(
        root / "segattn/data/datamodules.py",
        "from segattn.data.camvid import CamVid",
        "from segattn.data import trees\nfrom segattn.data.trees import Trees",
    )
    append(root / "tests/data/layouts.py", LAYOUT)
    write(root / "configs/trees_linear.yaml", CONFIG)
    write(root / "segattn/metrics/pixel_count.py", METRIC)
    insert(
        root / "segattn/metrics/evaluation.py",
        "from segattn.metrics.object_size import ObjectSizeIoU",
        "from segattn.metrics.pixel_count import PixelCount",
    )
    insert(
        root / "segattn/metrics/evaluation.py",
        "        if further_scores:",
        '            self.further["pixels"] = PixelCount()',
    )
    write(root / "tests/test_additions.py", RECIPE_TEST)
    return root


def write(path, text):
    assert not path.exists()
    path.write_text(text, encoding="utf-8")


def append(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def insert(path, after, text):
    """Add lines after the first line that reads ``after``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines.insert(lines.index(after) + 1, text)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def export(path, line, *names):
    """Add an import and names to the ``__all__`` of a package."""
    insert(path, "__all__ = [", "\n".join(f'    "{name}",' for name in names))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("\nfrom segattn.", f"\n{line}\nfrom segattn.", 1), encoding="utf-8")


def test_recipes_need_no_other_change(copy):
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    files = ["attention/test_contract.py", "heads/test_contract.py", "test_additions.py", "test_imports.py"]
    chosen = "ChannelScale or LinearHead or variant or additions or imports"
    command = [sys.executable, "-m", "pytest", "-n0", "-q", *(f"tests/{file}" for file in files), "-k", chosen]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
