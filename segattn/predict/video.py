"""A video in, an overlay video and one mask a frame out, where OpenCV can read and write it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from segattn.predict.inference import Predictor
from segattn.predict.inputs import Source
from segattn.predict.manifest import file_digest
from segattn.predict.outputs import OVERLAYS, Writer
from segattn.predict.pipeline import Picture, Pipeline
from segattn.predict.progress import Progress


class VideoError(ValueError):
    """A video that cannot be read, computed or written."""


class _Frame(NamedTuple):
    number: int
    pixels: UInt8[np.ndarray, "h w 3"]


class _Written(NamedTuple):
    overlay: UInt8[np.ndarray, "h w 3"]
    files: dict[str, str]
    shares: dict[str, float]


def predict_video(
    source: Source, predictors: Sequence[Predictor], writer: Writer, *, batch_size: int, progress: Progress
) -> dict[str, Any]:
    """Predict all frames of a video.

    The masks are ``STEM/000000.png`` and so on, the overlay video is ``overlays/STEM.mp4``. Sound is not kept.

    Args:
        source: the video.
        predictors: one for every device.
        writer: of the results.
        batch_size: frames that are computed together.
        progress: told of every frame.

    Returns:
        The row of the manifest.
    """
    row = {"image": source.name, "path": str(source.path)}
    capture = cv2.VideoCapture(str(source.path))
    try:
        return row | _predict(capture, source.stem, predictors, writer, batch_size=batch_size, progress=progress)
    except VideoError as error:
        return row | {"reason": str(error)}
    finally:
        capture.release()


def _predict(
    capture: Any,
    stem: str,
    predictors: Sequence[Predictor],
    writer: Writer,
    *,
    batch_size: int,
    progress: Progress,
) -> dict[str, Any]:
    if not capture.isOpened():
        raise VideoError("OpenCV cannot read it as a video")
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    progress.add(max(announced, 1) - 1)

    def write(frame: _Frame, picture: Picture) -> _Written:
        if picture.pixels is None or picture.prediction is None:
            raise VideoError(f"frame {frame.number}: {picture.reason}")
        files = writer.write(f"{stem}/{frame.number:06d}", picture.prediction, picture.pixels)
        labels = picture.prediction.labels
        return _Written(writer.overlay(picture.pixels, labels), files, writer.shares(labels))

    pipeline = Pipeline(
        predictors,
        lambda frame: Picture(frame.pixels),
        write,
    )
    files: dict[str, str] = {}
    shares: Counter[str] = Counter()
    name = f"{OVERLAYS}/{stem}.mp4"

    def write_film(path: Path) -> None:
        film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
        try:
            if not film.isOpened():
                raise VideoError("OpenCV cannot write an mp4 video here")
            for _, written in pipeline.run(_batches(capture, batch_size)):
                film.write(np.ascontiguousarray(written.overlay[..., ::-1]))
                files.update(written.files)
                shares.update(written.shares)
                progress.advance()
        finally:
            film.release()
        if not shares:
            raise VideoError("OpenCV cannot read a frame of it")
        files[name] = file_digest(path)

    writer.folder.write(name, write_film)
    frames = sum(path.startswith(f"{stem}/") for path in files)
    missing = [f"{frames} of {announced} frames could be read"] if frames < announced else []
    return {
        "height": size[1],
        "width": size[0],
        "frames": frames,
        "shares": {name: round(share / frames, 6) for name, share in shares.items()},
        "notes": missing,
        "files": files,
    }


def _batches(capture: Any, batch_size: int) -> Iterator[list[_Frame]]:
    index, batch = 0, []
    while True:
        there, pixels = capture.read()
        if not there:
            break
        batch.append(_Frame(index, np.ascontiguousarray(pixels[..., ::-1])))
        index += 1
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch
