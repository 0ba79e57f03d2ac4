"""Predictions as files: masks, overlays, panels, confidence, probabilities, and what their values mean."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segattn.io.overlay import blend
from segattn.predict.inference import Prediction
from segattn.predict.manifest import CLASSES, OutputFolder, file_digest
from segattn.predict.options import Options
from segattn.sample import IGNORE_INDEX, ClassTable

OVERLAYS, PANELS, CONFIDENCE, PROBABILITIES = "overlays", "panels", "confidence", "probabilities"
DEFAULT_OPACITY = 0.5


COUNTED_AT_ONCE = 2**22
"""Pixels; numpy counts in copies of eight bytes for each."""


class Writer:
    """Writes the files of one image after the other; safe to use from several threads.

    Args:
        folder: where they go.
        classes: of the model.
        options: which files, and with which values.

    Raises:
        ValueError: if a palette is asked for values that do not fit into one.
    """

    def __init__(self, folder: OutputFolder, classes: ClassTable, options: Options) -> None:
        self.folder = folder
        self.classes = classes
        self.options = options
        self.opacity = DEFAULT_OPACITY if options.opacity is None else options.opacity
        indices = np.arange(len(classes), dtype=np.uint8)
        self.values = indices if options.ids == "train" else classes.to_label_ids(indices)
        if options.palette and self.values.dtype != np.uint8:
            raise ValueError(f"A palette has 256 colors, but label ids go up to {self.values.max()}; take ids: train.")

    def write_classes(self) -> Path:
        """Say what the values and colors in the files mean."""
        table = json.loads(self.classes.to_json())
        content = {
            "masks": "label ids of the data set" if self.options.ids == "dataset" else "class indices from 0",
            "classes": [
                {"value": int(value), "index": index, **info}
                for index, (value, info) in enumerate(zip(self.values, table, strict=True))
            ],
        }
        return self.folder.write(CLASSES, lambda path: path.write_text(json.dumps(content, indent=1), encoding="utf-8"))

    def write(self, stem: str, prediction: Prediction, image: UInt8[np.ndarray, "h w 3"] | None) -> dict[str, str]:
        """Write all files of one image.

        Args:
            stem: of its results, relative to the folder.
            prediction: what the model says.
            image: RGB; needed for overlays and panels only.

        Returns:
            Digest by relative path, the mask first.
        """
        files = {f"{stem}.png": self._mask(prediction.labels)}
        if image is not None:
            overlay = self.overlay(image, prediction.labels)
            if self.options.overlay:
                files[f"{OVERLAYS}/{stem}.png"] = Image.fromarray(overlay)
            if self.options.panels:
                panels = np.concatenate([image, overlay, self.classes.palette[prediction.labels]], axis=1)
                files[f"{PANELS}/{stem}.png"] = Image.fromarray(panels)
        if prediction.confidence is not None:
            files[f"{CONFIDENCE}/{stem}.png"] = Image.fromarray(prediction.confidence)
        digests = {name: self._save(name, partial(_save_png, file)) for name, file in files.items()}
        if prediction.probabilities is not None:
            name = f"{PROBABILITIES}/{stem}.npz"
            ranked = prediction.ranked
            labels = self.values if ranked is None else self.values[ranked]
            save = partial(_save_probabilities, prediction.probabilities, labels)
            digests[name] = self._save(name, save)
        return digests

    def overlay(
        self, image: UInt8[np.ndarray, "h w 3"], labels: UInt8[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The image under the colors of its classes."""
        return blend(image, labels, self.classes.palette, opacity=self.opacity)

    def shares(self, labels: UInt8[np.ndarray, "h w"]) -> dict[str, float]:
        """Share of the pixels by class, of the classes that occur."""
        counts = np.zeros(len(self.classes), dtype=np.int64)
        for rows in np.array_split(labels, -(-labels.size // COUNTED_AT_ONCE)):
            counts += np.bincount(rows.ravel(), minlength=len(counts))
        return {
            name: round(int(count) / labels.size, 6)
            for name, count in zip(self.classes.names, counts, strict=True)
            if count
        }

    def _mask(self, labels: UInt8[np.ndarray, "h w"]) -> Image.Image:
        mask = Image.fromarray(self.values[labels])
        if self.options.palette:
            colors = np.zeros((IGNORE_INDEX + 1, 3), np.uint8)
            colors[self.values] = self.classes.palette
            mask.putpalette(colors.tobytes())
        return mask

    def _save(self, name: str, save: Any) -> str:
        digests: list[str] = []

        def write(path: Path) -> None:
            save(path)
            digests.append(file_digest(path))

        self.folder.write(name, write)
        return digests[0]


def result_folders(options: Options) -> Iterator[str]:
    """The folders beside the masks that options ask for."""
    asked = {
        OVERLAYS: options.overlay,
        PANELS: options.panels,
        CONFIDENCE: options.confidence,
        PROBABILITIES: options.probabilities,
    }
    return (name for name, wanted in asked.items() if wanted)


def _save_png(image: Image.Image, path: Path) -> None:
    image.save(path, format="PNG")


def _save_probabilities(probabilities: np.ndarray, labels: np.ndarray, path: Path) -> None:
    np.savez_compressed(path, probabilities=probabilities, labels=labels)
