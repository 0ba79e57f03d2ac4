"""Objects in pictures: the image, the truth, and what each run's checkpoint predicts there."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Integer, UInt8
from jsonargparse import ArgumentParser
from PIL import Image, ImageDraw

from segattn.checkpoints import TrainedModel, load_model
from segattn.data import SegmentationDataModule
from segattn.data.dataset import RawSample, SegmentationDataset
from segattn.inference import infer, predicted_classes
from segattn.io.overlay import blend
from segattn.io.yaml_files import read_yaml
from segattn.report.markup import Exhibit, Picture
from segattn.report.runs import Run, Study

SIDE = 128
"""Side of a picture, px."""

_LEAST_CONTEXT = 48
_OPACITY = 0.65


@dataclass(frozen=True)
class _View:
    """An image that objects are shown of.

    Attributes:
        raw: image and truth.
        predictions: class indices by the label of their run.
    """

    raw: RawSample
    predictions: Mapping[str, Integer[np.ndarray, "h w"]]


def show_objects(study: Study, chosen: Mapping[str, pd.DataFrame], split: str) -> tuple[dict[str, list[Exhibit]], str]:
    """Draw objects from the runs' data and checkpoints, as far as they are still there.

    Args:
        study: the runs; the first one of every name is shown.
        chosen: objects by title, as :func:`segattn.report.worst_objects` returns them.
        split: that the records are of.

    Returns:
        Their pictures by title, and a sentence on what is missing (empty if nothing is).
    """
    try:
        dataset = _open_data(study.runs[0], split)
    except (ValueError, OSError) as error:
        return {}, f"There are no pictures, because the data of {study.runs[0].label} cannot be read: {_clause(error)}."
    images = sorted({image for objects in chosen.values() for image in objects["image"]})
    models, missing = _open_models(study)
    views = {image: _view(dataset, image, models) for image in images}
    palette = dataset.classes.palette
    exhibits = {
        title: [_exhibit(row, views[row["image"]], palette, study.names) for row in objects.to_dict("records")]
        for title, objects in chosen.items()
    }
    return exhibits, " ".join(missing)


def _open_data(run: Run, split: str) -> SegmentationDataset:
    """The data that a run's config names.

    Raises:
        FileNotFoundError: if config or data are not there.
        ValueError: if they cannot be used.
    """
    path = run.path.parent / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SegmentationDataModule, "data")
    try:
        data: SegmentationDataModule = parser.instantiate_classes(
            parser.parse_object({"data": read_yaml(path)["data"]})
        ).data
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} describes none that can be opened") from error
    if not data.root.is_dir():
        raise FileNotFoundError(f"there is no folder {data.root.absolute()}")
    return data.dataset(split)


def _open_models(study: Study) -> tuple[dict[str, TrainedModel], list[str]]:
    models, missing = {}, []
    for name, runs in study.groups.items():
        run = runs[0]
        path = run.path.parent / "checkpoints" / (run.info.extra.get("checkpoint") or "best.ckpt")
        try:
            models[name if len(runs) == 1 else run.label] = load_model(path)
        except (ValueError, OSError) as error:
            missing.append(f"Predictions of {name} are not shown: {_clause(error)}.")
    return models, missing


def _view(dataset: SegmentationDataset, image: str, models: Mapping[str, TrainedModel]) -> _View:
    index = {pair.name: number for number, pair in enumerate(dataset.pairs)}[image]
    raw = dataset.read(index)
    predictions = {}
    for label, trained in models.items():
        with torch.inference_mode():
            logits = infer(trained.logits, dataset[index]["image"][None], trained.inference)
        predictions[label] = predicted_classes(logits)[0].numpy()
    return _View(raw, predictions)


def _exhibit(
    row: Mapping[Any, Any], view: _View, palette: UInt8[np.ndarray, "classes 3"], names: Sequence[str]
) -> Exhibit:
    box = (row["x0"], row["y0"], row["x1"], row["y1"])
    layers = {"truth": view.raw.mask, **view.predictions}
    pictures = [Picture("image", _crop(view.raw.image, box))]
    pictures += [
        Picture(label, _crop(blend(view.raw.image, labels, palette, opacity=_OPACITY), box))
        for label, labels in layers.items()
    ]
    ious = ", ".join(f"{name} {100 * row[f'iou {name}']:.0f}" for name in names)
    title = f"{row['class_name']}, {row['size_px']} px, IoU: {ious}"
    return Exhibit(title, f"{row['image']}, x {box[0]} to {box[2]}, y {box[1]} to {box[3]}", pictures)


def _crop(image: UInt8[np.ndarray, "h w 3"], box: Sequence[int]) -> bytes:
    """A square around a box, enlarged without smoothing, with the box drawn on it; a PNG file's bytes."""
    x0, y0, x1, y1 = box
    height, width = image.shape[:2]
    side = min(max(_LEAST_CONTEXT, 2 * (x1 - x0), 2 * (y1 - y0)), height, width)
    left = int(np.clip((x0 + x1 - side) // 2, 0, width - side))
    top = int(np.clip((y0 + y1 - side) // 2, 0, height - side))
    scale = SIDE / side
    picture = Image.fromarray(image[top : top + side, left : left + side]).resize(
        (SIDE, SIDE), Image.Resampling.NEAREST
    )
    edges = [scale * (x0 - left) - 1, scale * (y0 - top) - 1, scale * (x1 - left), scale * (y1 - top)]
    draw = ImageDraw.Draw(picture)
    draw.rectangle([edges[0] - 1, edges[1] - 1, edges[2] + 1, edges[3] + 1], outline="black")
    draw.rectangle(edges, outline="white")
    file = io.BytesIO()
    picture.save(file, format="png")
    return file.getvalue()


def _clause(error: Exception) -> str:
    """An error's sentence inside another one."""
    text = " ".join(str(error).split()).rstrip(".")
    return text[:1].lower() + text[1:]
