"""Predict the images and videos of one process: read ahead, compute, write and record each of them."""

import errno
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from segattn.io.error_text import one_line
from segattn.io.image_files import ImageFileError, open_image
from segattn.io.raster_files import Pixels, as_rgb, georeference, read_raster
from segattn.predict.manifest import Manifest, Row, file_state
from segattn.predict.options import Settings
from segattn.predict.result_files import ResultWriter
from segattn.predict.sources import Source, Sources
from segattn.predict.video import VideoError, predict_video

if TYPE_CHECKING:
    from segattn.predict.predictor import Predictor

MAX_PIXELS = 178_956_970
"""Default limit of the size of images, above which Pillow suspects a decompression bomb."""

MAX_PIXELS_WITH_WINDOWS = 500_000_000
"""The same with sliding windows, which need less memory."""

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Errors that would recur for every file."""


@dataclass(frozen=True)
class Share:
    """What one process predicts: images, of which consecutive ones are processed together, and videos.

    A finished image is computed again with an unfinished one of its batch: the batch affects the rounding.
    """

    images: Sources
    videos: Sources
    finished: Set[str]


@dataclass(frozen=True)
class PredictionRun:
    """What is needed to predict one image after the other."""

    predictor: "Predictor"
    writer: ResultWriter
    manifest: Manifest
    settings: Settings

    def predict(self, share: Share) -> None:
        """Predict the share of a process, with a progress bar in the first one."""
        self.manifest.require_shared_folder()
        console = Console(stderr=True)
        shown = self.settings.progress and console.is_terminal and self.manifest.rank == 0
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=not shown) as bar:
            total = len(share.images) - len(share.finished) + len(share.videos)
            task = bar.add_task("predicting", total=total)
            with self.manifest.appending() as add:
                for row in self._rows(share):
                    add(row)
                    bar.advance(task)

    def _rows(self, share: Share) -> Iterator[Row]:
        """The rows of the manifest."""
        pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the limit is that of the settings
        try:
            predict = partial(self._predict_images, finished=share.finished)
            for rows in self.predictor.map_ahead(predict, _batched(share.images, self.settings.batch_size)):
                yield from rows
            for source in share.videos:
                yield self._predict_video(source)
        finally:
            Image.MAX_IMAGE_PIXELS = pillow_limit

    def _predict_images(self, sources: Sequence[Source], *, finished: Set[str]) -> list[Row]:
        """Read, compute and write some images; this runs in several threads at once."""
        rows: list[Row] = [{"image": source.name, "path": str(source.path)} for source in sources]
        images: dict[int, Pixels] = {}
        channels = self.predictor.network.channels
        for index, source in enumerate(sources):
            try:
                if channels is not None:
                    rows[index] |= {"state": file_state(source.path), "notes": []}
                    images[index] = read_raster(Path(source.path), channels, max_pixels=self._max_pixels)
                    continue
                with open_image(source.path, max_pixels=self._max_pixels) as opened:
                    rows[index]["state"] = file_state(source.path)
                    images[index] = opened.read()
                    rows[index]["notes"] = list(opened.notes)
            except ImageFileError as error:
                rows[index]["reason"] = error.reason
        predictions = self.predictor.predict(list(images.values()))
        for (index, image), prediction in zip(images.items(), predictions, strict=True):
            if isinstance(prediction, str):
                rows[index]["reason"] = prediction
            elif sources[index].name not in finished:
                try:
                    place = georeference(Path(sources[index].path))
                    files = self.writer.write(sources[index].stem, prediction, as_rgb(image), place)
                except OSError as error:
                    rows[index]["reason"] = _unless_fatal(error)
                    continue
                shares = self.writer.shares(prediction.labels)
                rows[index] |= {"height": len(image), "width": image.shape[1], "shares": shares, "files": files}
        return [row for row in rows if row["image"] not in finished]

    def _predict_video(self, source: Source) -> Row:
        row: Row = {"image": source.name, "path": str(source.path)}
        if self.predictor.network.channels is not None:
            return row | {"reason": "the model was trained on images of other channels than those of a video"}
        try:
            row["state"] = file_state(source.path)
            return row | predict_video(source, self.predictor, self.writer, batch_size=self.settings.batch_size)
        except VideoError as error:
            return row | {"reason": str(error)}
        except OSError as error:
            return row | {"reason": _unless_fatal(error)}

    @property
    def _max_pixels(self) -> int:
        return self.settings.max_pixels or (MAX_PIXELS_WITH_WINDOWS if self.predictor.config.window else MAX_PIXELS)


def _batched(sources: Iterable[Source], size: int) -> Iterator[list[Source]]:
    """Split into lists of a size; the last one may be shorter."""
    remaining = iter(sources)
    while batch := list(islice(remaining, size)):
        yield batch


def _unless_fatal(error: OSError) -> str:
    """The reason for a file that cannot be written."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if cause.errno in FATAL:
        raise error
    return one_line(error)
