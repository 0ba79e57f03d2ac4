"""The text of a config for a folder of images and masks."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from segattn.init.folder_splits import Split
from segattn.init.training_cost import TrainingCost

_CONFIG = """\
# Written by segattn init. Every line may be changed; docs/training.md and `segattn fit --help` describe the options.
base: base/small_objects.yaml  # an attention pyramid, and a loss that balances small and large objects
data:
  class_path: FolderDataModule
  init_args:
    root: {root}
    classes: {classes}  # give the classes their names there
{folders}{channels}
    crop_size: [{crop}, {crop}]  # half of the images have at most {width} x {height} pixels (width x height)
    batch_size: {batch}  # {memory}
    object_crops: 0.5  # half of the crops are centered on a small or medium object
model:
  encoder: {{name: {encoder}, weights: {weights}{normalization}}}
  optimizer:
    class_path: torch.optim.AdamW
    init_args: {{lr: 0.001, weight_decay: 0.01}}
  schedule: {{power: 0.9, floor: 0.00001, warmup_steps: 20}}
trainer:
  max_epochs: {epochs}  # {time}
"""


@dataclass(frozen=True)
class Channels:
    """Channels of images that are not RGB; the mean and the standard deviation of each as lists of YAML."""

    count: int
    mean: str
    std: str


def config_text(
    splits: Mapping[str, Split],
    paths: Mapping[str, Path],
    *,
    cost: TrainingCost,
    size: tuple[int, int],
    crop: int,
    encoder: str,
    weights: str,
    epochs: int,
    channels: Channels | None = None,
) -> str:
    """Write the config.

    Args:
        splits: training and validation images.
        paths: the class file (``classes``) and the lists of images of each split.
        cost: time and memory of a training step.
        size: typical (width, height) of the images.
        crop: height and width of the training crops.
        encoder: its name.
        weights: encoder weights: a name, a file, or null.
        epochs: length of the training.
        channels: number of channels of images that are not RGB.
    """
    folders = [path.absolute() for split in splits.values() for path in (split.images, split.masks)]
    root = Path(os.path.commonpath(folders))
    epoch = len(splits["train"].pairs) // cost.batch * cost.seconds
    return _CONFIG.format(
        root=_scalar(root),
        classes=_scalar(paths["classes"].absolute()),
        folders="\n".join(line for name, split in splits.items() for line in _split_lines(name, split, root, paths)),
        channels=f"\n    channels: {channels.count}" if channels else "",
        normalization=f", mean: {channels.mean}, std: {channels.std}" if channels else "",
        crop=crop,
        width=size[0],
        height=size[1],
        batch=cost.batch,
        memory=f"a step takes about {cost.memory / 2**30:.1f} GiB",
        encoder=_scalar(encoder),
        weights=weights
        if weights == "null"
        else _scalar(Path(weights).absolute() if Path(weights).exists() else weights),
        epochs=epochs,
        time=f"an epoch takes about {_duration(epoch)}, all {_duration(epoch * epochs)}, on {cost.machine}",
    )


def _split_lines(name: str, split: Split, root: Path, paths: Mapping[str, Path]) -> list[str]:
    folders = {"images": split.images, "masks": split.masks}
    lines = [
        f"    {name}_{key}: {_scalar(path.absolute().relative_to(root).as_posix())}" for key, path in folders.items()
    ]
    if split.is_listed:
        lines.append(f"    {name}_list: {_scalar(paths[name].absolute())}  # {len(split.pairs)} images")
    return lines


def _scalar(value: object) -> str:
    """A text of YAML, in quotes if it needs them."""
    return yaml.safe_dump(str(value), width=10_000, allow_unicode=True).removesuffix("...\n").strip()


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
