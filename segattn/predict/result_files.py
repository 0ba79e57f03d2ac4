"""Write predictions: masks, overlays, panels, confidence and probabilities. No torch."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segattn.io.atomic_write import atomic_write
from segattn.io.overlay import blend
from segattn.predict.options import Options
from segattn.sample import IGNORE_INDEX, ClassTable

if TYPE_CHECKING:
    from segattn.predict.predictor import Prediction

CLASSES = "classes.json"
OVERLAYS, PANELS, CONFIDENCE, PROBABILITIES = "overlays", "panels", "confidence", "probabilities"


class ResultWriter:
    """Writes the files of images. It can be used from several threads.

    Raises:
        ValueError: if the values do not fit into a palette.
    """

    def __init__(self, folder: Path, classes: ClassTable, options: Options) -> None:
        self.folder = folder
        self.classes = classes
        self.options = options
        indices = np.arange(len(classes), dtype=np.uint8)
        self.values = indices if options.ids == "train" else classes.to_label_ids(indices)
        if options.palette and self.values.dtype != np.uint8:
            raise ValueError(f"A palette has 256 colors, but label ids go up to {self.values.max()}: use --ids train.")

    def write_classes(self) -> None:
        """Write a file that describes the values and colors in the other files."""
        content = {
            "masks": "label ids of the data set" if self.options.ids == "dataset" else "class indices from 0",
            "classes": [
                {"value": int(value), "index": index, **info}
                for index, (value, info) in enumerate(zip(self.values, self.classes.to_dicts(), strict=True))
            ],
        }
        with atomic_write(self.folder / CLASSES) as draft:
            draft.write_text(json.dumps(content, indent=1), encoding="utf-8")

    def write(
        self,
        stem: str,
        prediction: "Prediction",
        image: UInt8[np.ndarray, "h w 3"],
        georeference: str | None = None,
    ) -> dict[str, int]:
        """Write all files of an image.

        Args:
            stem: relative path without extension.
            prediction: prediction for the image.
            image: image to draw on.
            georeference: content of ``STEM.png.aux.xml``, which geographic information systems read with the mask.

        Returns:
            Size in bytes by relative path.
        """
        images = {f"{stem}.png": self._mask(prediction.labels)}
        if self.options.draws_colors:
            overlay = self.overlay(image, prediction.labels)
            if self.options.overlay:
                images[f"{OVERLAYS}/{stem}.png"] = Image.fromarray(overlay)
            if self.options.panels:
                panels = np.concatenate([image, overlay, self.classes.palette[prediction.labels]], axis=1)
                images[f"{PANELS}/{stem}.png"] = Image.fromarray(panels)
        if prediction.confidence is not None:
            images[f"{CONFIDENCE}/{stem}.png"] = Image.fromarray(prediction.confidence)
        sizes = {name: self._save(name, partial(each.save, format="PNG")) for name, each in images.items()}
        if georeference is not None:
            name = f"{stem}.png.aux.xml"
            sizes[name] = self._save(name, partial(Path.write_text, data=georeference, encoding="utf-8"))
        if prediction.probabilities is not None:
            labels = self.values if prediction.ranked is None else self.values[prediction.ranked]
            save = partial(np.savez_compressed, probabilities=prediction.probabilities, labels=labels)
            name = f"{PROBABILITIES}/{stem}.npz"
            sizes[name] = self._save(name, save)
        return sizes

    def overlay(
        self, image: UInt8[np.ndarray, "h w 3"], labels: UInt8[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Draw the class colors over an image."""
        opacity = 0.5 if self.options.opacity is None else self.options.opacity
        return blend(image, labels, self.classes.palette, opacity=opacity)

    def shares(self, labels: UInt8[np.ndarray, "h w"]) -> dict[str, float]:
        """Share of the pixels by name, for the classes that occur."""
        counts = Image.fromarray(labels).histogram()  # unlike np.bincount, it makes no copies of eight bytes per pixel
        return {
            name: round(count / labels.size, 6)
            for name, count in zip(self.classes.names, counts, strict=False)
            if count
        }

    def _mask(self, labels: UInt8[np.ndarray, "h w"]) -> Image.Image:
        mask = Image.fromarray(self.values[labels])
        if self.options.palette:
            colors = np.zeros((IGNORE_INDEX + 1, 3), np.uint8)
            colors[self.values] = self.classes.palette
            mask.putpalette(colors.tobytes())
        return mask

    def _save(self, name: str, save: Callable[[Path], Any]) -> int:
        with atomic_write(self.folder / name) as draft:
            save(draft)
            return draft.stat().st_size


def result_folders(options: Options) -> list[str]:
    """Names of the additional folders that are written."""
    written = {
        OVERLAYS: options.overlay,
        PANELS: options.panels,
        CONFIDENCE: options.confidence,
        PROBABILITIES: options.probabilities,
    }
    return [name for name, wanted in written.items() if wanted]
