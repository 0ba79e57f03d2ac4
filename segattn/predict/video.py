"""Predict videos: one mask per frame and an overlay video, as far as OpenCV can read and write them."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import UInt8

from segattn.io.atomic_write import atomic_write
from segattn.predict.manifest import Row
from segattn.predict.result_files import OVERLAYS, ResultWriter
from segattn.predict.sources import Source

if TYPE_CHECKING:
    from segattn.predict.predictor import Predictor

Frames = list[tuple[int, UInt8[np.ndarray, "h w 3"]]]
"""Consecutive frames with their numbers."""


class VideoError(ValueError):
    """A video that cannot be read, predicted or written."""


def predict_video(source: Source, predictor: "Predictor", writer: ResultWriter, *, batch_size: int) -> Row:
    """Predict all frames of a video.

    The masks are ``STEM/000000.png`` and so on, the overlay video is ``overlays/STEM.mp4``, without sound.

    Raises:
        VideoError: if the video cannot be predicted.
    """
    capture = cv2.VideoCapture(str(source.path))
    try:
        if not capture.isOpened():
            raise VideoError("OpenCV cannot read it as a video")
        return _predict(capture, source.stem, predictor, writer, batch_size=batch_size)
    finally:
        capture.release()


def _predict(capture: Any, stem: str, predictor: "Predictor", writer: ResultWriter, *, batch_size: int) -> Row:
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def predict_frames(frames: Frames) -> list[tuple[UInt8[np.ndarray, "h w 3"], dict[str, int], dict[str, float]]]:
        """Overlay, files and shares of every frame."""
        written = []
        predictions = predictor.predict([pixels for _, pixels in frames])
        for (number, pixels), prediction in zip(frames, predictions, strict=True):
            if isinstance(prediction, str):
                raise VideoError(f"frame {number}: {prediction}")
            files = writer.write(f"{stem}/{number:06d}", prediction, pixels)
            written.append((writer.overlay(pixels, prediction.labels), files, writer.shares(prediction.labels)))
        return written

    count = 0
    files: dict[str, int] = {}
    shares: Counter[str] = Counter()
    name = f"{OVERLAYS}/{stem}.mp4"
    with atomic_write(writer.folder / name) as draft:
        video = cv2.VideoWriter(str(draft), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
        if not video.isOpened():
            raise VideoError("OpenCV cannot write an mp4 video")
        try:
            results = predictor.map_ahead(predict_frames, _read_frames(capture, batch_size))
            for overlay, frame_files, frame_shares in (frame for frames in results for frame in frames):
                video.write(np.ascontiguousarray(overlay[..., ::-1]))
                count += 1
                files |= frame_files
                shares.update(frame_shares)
        finally:
            video.release()
        if not count:
            raise VideoError("OpenCV cannot read any of its frames")
        files[name] = draft.stat().st_size
    expected = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return {
        "height": height,
        "width": width,
        "frames": count,
        "shares": {name: round(share / count, 6) for name, share in shares.items()},
        "notes": [f"{count} of {expected} frames could be read"] if count < expected else [],
        "files": files,
    }


def _read_frames(capture: Any, batch_size: int) -> Iterator[Frames]:
    frames: Frames = []
    number = 0
    while (read := capture.read())[0]:
        frames.append((number, np.ascontiguousarray(read[1][..., ::-1])))
        number += 1
        if len(frames) == batch_size:
            yield frames
            frames = []
    if frames:
        yield frames
