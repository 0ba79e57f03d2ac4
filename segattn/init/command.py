"""``segattn init``: write a config and a class file for a folder of images and masks."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from typing import Annotated

from rich.console import Console

from segattn.data.label_files import Pair
from segattn.init.config_text import Channels, config_text
from segattn.init.folder_splits import find_splits
from segattn.init.label_values import class_file, label_values
from segattn.init.training_cost import UNKNOWN_COST, training_cost
from segattn.io.atomic_write import atomic_write
from segattn.io.command_line import run_command
from segattn.io.image_files import ImageFileError, open_image
from segattn.io.raster_files import channel_moments, mean_and_std, read_raster

MAX_READ, MAX_SIZES = 500, 100
"""Number of masks, and of images, that are read, evenly distributed."""

MIN_STEPS = 20
"""Number of training steps of an epoch that the batch size leaves, if possible."""

CROP_SIZES = {"cuda": 512, "cpu": 256}
ENCODERS = {"cuda": "resnet50", "cpu": "tu-tf_efficientnet_lite0"}


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    return run_command(init, arguments[1:], prog="segattn init")


def init(
    *,
    images: Annotated[Path, "DIR"],
    masks: Annotated[Path, "DIR"],
    name: str = "mine",
    output: Annotated[Path, "DIR"] = Path(),
    encoder: str | None = None,
    weights: Annotated[str, "FILE"] = "imagenet",
    epochs: int = 50,
    channels: int | None = None,
) -> int:
    """Write a config and a class file for a folder of images and a folder of masks.

    Finds the classes in the masks, and chooses a crop size and a batch size that suit the images and the memory of this
    machine. If the folders have no subfolders train and val, the last fifth of the images of each folder is for
    validation. Nothing is overwritten.

    Args:
        images: folder of images, with any subfolders
        masks: folder of masks with the same relative paths
        name: the files are NAME.yaml, NAME_classes.yaml and, without subfolders, NAME_train.txt and NAME_val.txt
        output: folder for these files
        encoder: encoder of the model; default: resnet50 with a GPU, a smaller one without
        weights: encoder weights: imagenet (downloaded), null (random), or a file
        epochs: length of the training
        channels: number of channels of the images, if they are to be read as they are, also with 16 bits; default: the
            images are read as 8-bit RGB
    """
    for option, value in (("channels", channels), ("epochs", epochs)):
        if value is not None and value < 1:
            raise ValueError(f"--{option} must be at least 1, got {value}.")
    splits = find_splits(images, masks)
    lists = [split for split, each in splits.items() if each.is_listed]
    paths = {key: output / f"{name}_{key}.txt" for key in lists}
    paths |= {"classes": output / f"{name}_classes.yaml", "config": output / f"{name}.yaml"}
    if existing := [path for path in paths.values() if path.exists()]:
        raise ValueError(f"{existing[0]} exists already; choose another --name or --output.")
    pairs = [pair for split in splits.values() for pair in split.pairs]
    read = pairs[:: -(-len(pairs) // MAX_READ)]
    texts = {key: "".join(f"{pair.name}\n" for pair in splits[key].pairs) for key in lists}
    texts["classes"] = class_file(label_values([pair.mask for pair in read]), masks=len(read))

    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        size, measured = _measured(read[:: -(-len(read) // MAX_SIZES)], channels)
    except ImageFileError as error:
        hint = "" if channels else " Images with other channels than RGB need --channels NUMBER."
        raise ValueError(f"{error}{hint}") from error
    crop = min(CROP_SIZES[device], max(64, min(size) // 32 * 32))
    config = partial(
        config_text,
        splits,
        paths,
        size=size,
        crop=crop,
        encoder=encoder or ENCODERS[device],
        weights=weights,
        epochs=epochs,
        channels=measured,
    )
    with TemporaryDirectory() as folder:
        drafts = {key: Path(folder, f"{key}.yaml") for key in ("config", "classes")}
        drafts["classes"].write_text(texts["classes"], encoding="utf-8")
        drafts["config"].write_text(config(cost=UNKNOWN_COST), encoding="utf-8")
        command = ("--config", str(drafts["config"]), "--data.classes", str(drafts["classes"]))
        most = len(splits["train"].pairs) // MIN_STEPS
        texts["config"] = config(cost=training_cost(command, most=most, crop=crop, device=device))

    say = partial(Console(highlight=False).print, markup=False, soft_wrap=True)
    for key, path in paths.items():
        with atomic_write(path) as draft:
            draft.write_text(texts[key], encoding="utf-8")
        say(f"wrote {path}")
    if without := [pair for split in splits.values() for pair in split.without_mask]:
        missing = f"{without[0].image} ({without[0].mask} is missing)"
        say(f"warning: {len(without)} of {len(without) + len(pairs)} images have no mask, for example {missing}")
    run = f"segattn {{}} --config {shlex.quote(str(paths['config']))}"
    say(f"{len(splits['train'].pairs)} training and {len(splits['val'].pairs)} validation images. Next:")
    say(f"  {run.format('check')}\n  {run.format('fit')}\n  {run.format('validate')} --ckpt_path best")
    say(f"  segattn compare {shlex.quote(f'runs/{name}')} --output comparison")
    return 0


def _measured(pairs: Sequence[Pair], channels: int | None) -> tuple[tuple[int, int], Channels | None]:
    """Median width and height of images, and what their channels are like if they are read as they are."""
    sizes, moments = [], []
    for pair in pairs:
        if channels is None:
            with open_image(pair.image) as opened:
                sizes.append(opened.stored().size)
        else:
            image = read_raster(pair.image, channels)
            sizes.append((image.shape[1], image.shape[0]))
            moments.append(channel_moments(image))
    size = median_low(width for width, _ in sizes), median_low(height for _, height in sizes)
    if channels is None:
        return size, None
    return size, Channels(channels, *mean_and_std(moments, [width * height for width, height in sizes]))
