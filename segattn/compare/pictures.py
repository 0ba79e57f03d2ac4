"""Pictures of objects: the image, the ground truth, and the predictions of each run's checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from jaxtyping import Integer, UInt8
from jsonargparse import ArgumentParser
from PIL import Image, ImageDraw

from segattn.checkpoints import TrainedModel, load_model
from segattn.data import SegmentationDataModule
from segattn.data.dataset import SegmentationDataset
from segattn.inference import infer_labels
from segattn.io.error_text import one_line
from segattn.io.html_page import picture_uri
from segattn.io.overlay import blend
from segattn.io.raster_files import as_rgb
from segattn.io.yaml_files import read_yaml
from segattn.report.page_parts import Exhibit
from segattn.report.runs import Run, Study

SIDE = 128
"""Side of a picture in pixels."""

MIN_CONTEXT = 48
"""Smallest side in pixels of the part of the image around an object."""

OPACITY = 0.65


def show_objects(study: Study, chosen: Mapping[str, pd.DataFrame], split: str) -> tuple[dict[str, list[Exhibit]], str]:
    """Draw objects from the data and checkpoints of the runs, if these still exist; of each name, the first run.

    The objects are tables by title, as :func:`segattn.report.worst_objects` returns them. The result is the pictures by
    title, and a sentence about what is missing (empty if nothing is missing).
    """
    first = study.runs[0]
    try:
        dataset = _open_data(first, split)
    except (ValueError, OSError) as error:
        return {}, f"There are no pictures because the data of {first.label} cannot be read: {one_line(error)}."
    images = sorted({image for objects in chosen.values() for image in objects["image"]})
    models, missing = _open_models(study, dataset.channels)
    layers = {}
    for image in images:
        try:
            layers[image] = _layers(dataset, image, models)
        except (ValueError, OSError) as error:
            missing.append(f"Objects of {image} are not shown: {one_line(error)}.")
    palette = dataset.classes.palette
    exhibits = {
        title: [
            _exhibit(row, *layers[row["image"]], palette=palette, names=study.names)
            for row in objects.to_dict("records")
            if row["image"] in layers
        ]
        for title, objects in chosen.items()
    }
    return exhibits, " ".join(missing)


def _open_data(run: Run, split: str) -> SegmentationDataset:
    """Open the data of a run's config."""
    path = run.path.parent / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SegmentationDataModule, "data")
    try:
        parsed = parser.parse_object({"data": read_yaml(path)["data"]})
        data: SegmentationDataModule = parser.instantiate_classes(parsed).data
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe a data set") from error
    if not data.root.is_dir():
        raise FileNotFoundError(f"there is no folder {data.root.absolute()}")
    return data.dataset(split)


def _open_models(study: Study, channels: int | None) -> tuple[dict[str, TrainedModel], list[str]]:
    models, missing = {}, []
    for name, runs in study.groups.items():
        run = runs[0]
        path = run.path.parent / "checkpoints" / (run.info.extra.get("checkpoint") or "best.ckpt")
        try:
            trained = load_model(path)
            if trained.model.spec.channels != channels:
                raise ValueError("its images have other channels")
            models[name if len(runs) == 1 else run.label] = trained
        except (ValueError, OSError) as error:
            missing.append(f"Predictions of {name} are not shown: {one_line(error)}.")
    return models, missing


@torch.inference_mode()
def _layers(
    dataset: SegmentationDataset, name: str, models: Mapping[str, TrainedModel]
) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, Integer[np.ndarray, "h w"]]]:
    """An image, and its ground truth and predictions by name."""
    names = [pair.name for pair in dataset.pairs]
    if name not in names:
        raise FileNotFoundError("it is not in the data any more")
    raw = dataset.read(names.index(name))
    image = rearrange(torch.from_numpy(raw.image), "h w c -> 1 c h w")
    labels: dict[str, np.ndarray] = {"ground truth": raw.mask}
    for label, trained in models.items():
        labels[label] = infer_labels(trained.logits, image, trained.inference)[0].numpy()
    return as_rgb(raw.image), labels


def _exhibit(
    row: Mapping[Any, Any],
    image: UInt8[np.ndarray, "h w 3"],
    layers: Mapping[str, Integer[np.ndarray, "h w"]],
    *,
    palette: UInt8[np.ndarray, "classes 3"],
    names: Sequence[str],
) -> Exhibit:
    box = (row["x0"], row["y0"], row["x1"], row["y1"])
    shown = {"image": image, **{key: blend(image, labels, palette, opacity=OPACITY) for key, labels in layers.items()}}
    ious = ", ".join(f"{name} {100 * row[f'iou {name}']:.0f}" for name in names)
    title = f"{row['class_name']}, {row['size_px']} px, IoU in %: {ious}"
    place = f"{row['image']}, x {box[0]} to {box[2]}, y {box[1]} to {box[3]}"
    return Exhibit(title, place, {label: picture_uri(_crop(part, box)) for label, part in shown.items()})


def _crop(image: UInt8[np.ndarray, "h w 3"], box: Sequence[int]) -> Image.Image:
    """A square around a box, enlarged without smoothing, with the box drawn on it."""
    x0, y0, x1, y1 = box
    height, width = image.shape[:2]
    side = min(max(MIN_CONTEXT, 2 * (x1 - x0), 2 * (y1 - y0)), height, width)
    left = int(np.clip((x0 + x1 - side) // 2, 0, width - side))
    top = int(np.clip((y0 + y1 - side) // 2, 0, height - side))
    scale = SIDE / side
    part = Image.fromarray(image[top : top + side, left : left + side])
    picture = part.resize((SIDE, SIDE), Image.Resampling.NEAREST)
    edges = [scale * (x0 - left) - 1, scale * (y0 - top) - 1, scale * (x1 - left), scale * (y1 - top)]
    draw = ImageDraw.Draw(picture)
    draw.rectangle([edges[0] - 1, edges[1] - 1, edges[2] + 1, edges[3] + 1], outline="black")
    draw.rectangle(edges, outline="white")
    return picture
